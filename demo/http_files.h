/* What a server of files knows about them: none of it needs a connection. */
#ifndef DEMO_HTTP_FILES_H
#define DEMO_HTTP_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

struct evbuffer;

/* The path of a target, decoded: 0, or the status of what is not to be found anywhere. */
int http_decode_path(const char *target, char *path, size_t size);

/* Opens path, which begins with a slash, in the directory root and nowhere else, for reading: a
 * descriptor of a regular file or a directory and its status, or a negative errno. */
int http_open(int root, const char *path, struct stat *st);

/* The Content-Type that the name's ending stands for. */
const char *http_type(const char *path);

/* A page that lists the directory fd, which is known as path. NULL with errno. */
struct evbuffer *http_listing(int fd, const char *path);

/* The bytes that a Range field asks for, of size: 206 with *first and *length, 416, or 200: it says
 * nothing that can be kept to, and all is sent. */
int http_range(const char *field, off_t size, off_t *first, off_t *length);

/* "Sun, 06 Nov 1994 08:49:37 GMT"; the cache keeps it for the same time again. */
struct http_date {
    time_t time;
    char text[32]; /* empty: none yet */
};

const char *http_date(struct http_date *cache, time_t time);

/* Whether text is a date, in one of HTTP's three forms, and time is not behind it. */
bool http_not_modified_since(const char *text, time_t time);

#endif
