/* In front of the kqueue leaf for tests on Linux: the answers of libkqueue.c beside this. */
#include <time.h>
#include <unistd.h>
#include <sys/event.h>

int mended_kevent(int queue, const struct kevent *changes, int count, struct kevent *events,
                  int size, const struct timespec *timeout);
int mended_close(int queue);

/* `struct kevent` has no parentheses behind it, so this is for the function alone. */
#define kevent(...) mended_kevent(__VA_ARGS__)
#define close(fd) mended_close(fd)
