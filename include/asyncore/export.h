/* Compiler helpers of the public headers. */
#ifndef ASYNCORE_EXPORT_H
#define ASYNCORE_EXPORT_H

#ifdef __cplusplus
#define ASYNCORE_BEGIN_DECLS extern "C" {
#define ASYNCORE_END_DECLS }
#else
#define ASYNCORE_BEGIN_DECLS
#define ASYNCORE_END_DECLS
#endif

#if defined(__GNUC__)
#define ASYNCORE_API __attribute__((visibility("default")))
#define ASYNCORE_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define ASYNCORE_UNUSED __attribute__((unused))
/* Const and holding addresses: read-only once the program is loaded. Naming the section keeps a
 * program that is linked without PIE from copying the library's tables into itself. */
#define ASYNCORE_TABLE __attribute__((section(".data.rel.ro"), unused))
#else
#define ASYNCORE_API
#define ASYNCORE_PRINTF(at, first)
#define ASYNCORE_UNUSED
#define ASYNCORE_TABLE
#endif

#endif
