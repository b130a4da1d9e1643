// A C++ program: it calls everything, and fills in the table of a class by hand.
#include <asyncore/asyncore.h>

#include <cstdio>
#include <sys/socket.h>

namespace
{

struct echo {
    asyncore_dispatcher_with_send base;
    size_t total;
};

int handle_read(asyncore_dispatcher *d)
{
    echo *self = reinterpret_cast<echo *>(d);
    char data[64];
    int n = asyncore_recv(d, data, sizeof data);

    if (n <= 0)
        return n;
    self->total += static_cast<size_t>(n);
    return asyncore_send(d, data, static_cast<size_t>(n));
}

int handle_close(asyncore_dispatcher *d)
{
    std::printf("echo: %zu bytes\n", reinterpret_cast<echo *>(d)->total);
    return asyncore_close(d);
}

asyncore_class make_class()
{
    asyncore_class cls = {};

    cls.table_size = sizeof cls;
    cls.name = "echo";
    cls.super = &asyncore_dispatcher_with_send_class;
    cls.size = sizeof(echo);
    cls.handle_read = handle_read;
    cls.handle_close = handle_close;
    return cls;
}

const asyncore_class echo_class = make_class();

} // namespace

int main()
{
    int fds[2];
    char reply[16] = "";
    asyncore_map *map = asyncore_map_new(nullptr);

    if (!map || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
        !asyncore_new(&echo_class, fds[0], map))
        return 1;
    if (send(fds[1], "hello", 5, 0) != 5 || shutdown(fds[1], SHUT_WR) < 0)
        return 1;
    if (asyncore_loop(10, false, map, ASYNCORE_COUNT_NONE) != ASYNCORE_LOOP_EMPTY)
        return 1;
    if (recv(fds[1], reply, sizeof reply - 1, MSG_WAITALL) != 5)
        return 1;
    std::printf("echo: %s, package\n", reply);
    asyncore_map_free(map);
    return 0;
}
