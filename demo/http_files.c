#define _GNU_SOURCE 1
#include "http_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- from a target to a file ----------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* "..", though nobody would get out by it: what is above is none of a client's business. */
static bool goes_up(const char *path)
{
    for (; *path; path += strcspn(path, "/")) {
        path += strspn(path, "/");
        if (strncmp(path, "..", 2) == 0 && (path[2] == '/' || path[2] == '\0'))
            return true;
    }
    return false;
}

int http_decode_path(const char *target, char *path, size_t size)
{
    size_t length = 0;

    for (; *target && *target != '?'; target++) {
        char c = *target;

        if (c == '%') {
            int high = hex_digit(target[1]), low = high < 0 ? -1 : hex_digit(target[2]);

            c = (char)(high * 16 + low);
            if (low < 0 || c == '\0')
                return 400;
            target += 2;
        }
        if (length == size - 1)
            return 404;
        path[length++] = c;
    }
    path[length] = '\0';
    return goes_up(path) ? 403 : 0;
}

/* What is neither a file nor a directory is opened before that is seen. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Without openat2: from directory to directory, through no symbolic link. */
static int open_step_by_step(int root, const char *path)
{
    int fd = -1, next, error;

    for (;;) {
        size_t length = strcspn(path, "/"), slashes = strspn(path + length, "/");
        bool last = path[length + slashes] == '\0';
        int flags = (last ? OPEN_FLAGS : O_PATH | O_CLOEXEC) | (slashes ? O_DIRECTORY : 0);
        char name[NAME_MAX + 2]; /* one that is too long stays so */

        snprintf(name, sizeof name, "%.*s", (int)length, path);
        next = openat(fd < 0 ? root : fd, name, flags | O_NOFOLLOW);
        error = errno;
        if (fd >= 0)
            close(fd);
        errno = error;
        fd = next;
        if (last || fd < 0)
            return fd;
        path += length + slashes;
    }
}

/* The kernel follows links that stay inside, however they are changed meanwhile. */
static int open_beneath(int root, const char *path)
{
    const struct open_how how = {.flags = OPEN_FLAGS,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);

    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) /* an old kernel, or container */
        fd = open_step_by_step(root, path);
    return fd;
}

int http_open(int root, const char *path, struct stat *st)
{
    int fd, error;

    path += strspn(path, "/");
    fd = open_beneath(root, *path ? path : ".");
    if (fd < 0)
        return -errno;
    error = fstat(fd, st) < 0 ? errno : EACCES;
    if (error == EACCES && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
        return fd;
    close(fd);
    return -error;
}

/* --- types ----------------------------------------------------------------------------------- */

struct type {
    const char *ending;
    const char *type;
};

static int compare_endings(const void *a, const void *b)
{
    return strcasecmp(((const struct type *)a)->ending, ((const struct type *)b)->ending);
}

const char *http_type(const char *path)
{
    static const struct type types[] = {
        {"avif", "image/avif"},       {"bmp", "image/bmp"},         {"c", "text/plain"},
        {"css", "text/css"},          {"csv", "text/csv"},          {"gif", "image/gif"},
        {"gz", "application/gzip"},   {"h", "text/plain"},          {"htm", "text/html"},
        {"html", "text/html"},        {"ico", "image/x-icon"},      {"jpeg", "image/jpeg"},
        {"jpg", "image/jpeg"},        {"js", "text/javascript"},    {"json", "application/json"},
        {"md", "text/markdown"},      {"mjs", "text/javascript"},   {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},         {"pdf", "application/pdf"},   {"png", "image/png"},
        {"svg", "image/svg+xml"},     {"tar", "application/x-tar"}, {"txt", "text/plain"},
        {"wasm", "application/wasm"}, {"webm", "video/webm"},       {"webp", "image/webp"},
        {"woff", "font/woff"},        {"woff2", "font/woff2"},      {"xml", "application/xml"},
        {"zip", "application/zip"},
    };
    const char *dot = strrchr(path, '.');
    const struct type key = {.ending = dot ? dot + 1 : ""};
    const struct type *found =
        bsearch(&key, types, sizeof types / sizeof *types, sizeof *types, compare_endings);

    return found ? found->type : "application/octet-stream";
}

/* --- directories ----------------------------------------------------------------------------- */

static int add_html(struct evbuffer *page, const char *text)
{
    static const char *const entities[128] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};
    int rc = 0;

    for (; *text && rc == 0; text++) {
        const char *entity = isascii(*text) ? entities[(unsigned char)*text] : NULL;

        rc = evbuffer_add(page, entity ? entity : text, entity ? strlen(entity) : 1);
    }
    return rc;
}

static int add_url(struct evbuffer *page, const char *text)
{
    int rc = 0;

    for (; *text && rc == 0; text++) {
        unsigned char c = (unsigned char)*text;

        if (isalnum(c) || strchr("-._~", c))
            rc = evbuffer_add(page, text, 1);
        else
            rc = evbuffer_add_printf(page, "%%%02X", c) < 0 ? -1 : 0;
    }
    return rc;
}

static int add_entry(struct evbuffer *page, int fd, const struct dirent *entry)
{
    const char *name = entry->d_name, *slash = entry->d_type == DT_DIR ? "/" : "";
    struct stat st;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (entry->d_type == DT_UNKNOWN && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        slash = S_ISDIR(st.st_mode) ? "/" : "";
    if (evbuffer_add_printf(page, "<li><a href=\"") < 0 || add_url(page, name) < 0 ||
        evbuffer_add_printf(page, "%s\">", slash) < 0 || add_html(page, name) < 0 ||
        evbuffer_add_printf(page, "%s</a></li>\n", slash) < 0)
        return -1;
    return 0;
}

struct evbuffer *http_listing(int fd, const char *path)
{
    struct evbuffer *page = evbuffer_new();
    struct dirent **entries = NULL;
    int count = page ? scandirat(fd, ".", &entries, NULL, alphasort) : -1, rc = count;

    if (rc >= 0)
        rc = evbuffer_add_printf(page, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>");
    if (rc >= 0)
        rc = add_html(page, path);
    if (rc >= 0)
        rc = evbuffer_add_printf(page, "</title>\n<ul>\n");
    for (int i = 0; i < count; i++) {
        if (rc >= 0)
            rc = add_entry(page, fd, entries[i]);
        free(entries[i]);
    }
    free(entries);
    if (rc >= 0)
        rc = evbuffer_add_printf(page, "</ul>\n");
    if (rc >= 0)
        return page;
    if (count >= 0)
        errno = ENOMEM;
    if (page)
        evbuffer_free(page);
    return NULL;
}

/* --- what a client asks for ------------------------------------------------------------------ */

/* A number; one that is too large for any file is the largest. NULL: none is there. */
static const char *take_number(const char *text, off_t *number)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return NULL;
    *number = strtoll(text, &end, 10);
    return end;
}

/* FIRST-LAST, FIRST- or -LENGTH. */
static bool take_range(const char *text, off_t size, off_t *first, off_t *end)
{
    off_t number;

    *end = size;
    if (*text == '-') {
        text = take_number(text + 1, &number);
        *first = text && number < size ? size - number : 0;
        if (text && number == 0)
            *first = size;
        return text && !*text;
    }
    text = take_number(text, first);
    if (!text || *text++ != '-')
        return false;
    if (!*text)
        return true;
    text = take_number(text, &number);
    if (!text || *text || number < *first)
        return false;
    if (number < size)
        *end = number + 1;
    return true;
}

int http_range(const char *field, off_t size, off_t *first, off_t *length)
{
    static const char unit[] = "bytes=";
    off_t start, end;

    if (strncasecmp(field, unit, strlen(unit)) != 0 ||
        !take_range(field + strlen(unit), size, &start, &end))
        return 200;
    if (start >= size)
        return 416;
    *first = start;
    *length = end - start;
    return 206;
}

const char *http_date(struct http_date *cache, time_t time)
{
    struct tm tm;

    if (cache->time != time || !*cache->text) {
        cache->time = time;
        if (!gmtime_r(&time, &tm) ||
            !strftime(cache->text, sizeof cache->text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
            *cache->text = '\0';
    }
    return cache->text;
}

bool http_not_modified_since(const char *text, time_t time)
{
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                          "%a %b %d %H:%M:%S %Y"};

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);

        if (end && !*end)
            return time <= timegm(&tm);
    }
    return false;
}
