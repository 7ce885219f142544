/* echo: the smallest echo server that C and epoll allow, the limit in the tables of servers.

     echo tcp|udp|unix [PATH]

   Prints its port (or path) on a line and serves until it is killed or its parent ends.
   Linux only. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ROOM (1 << 18)

struct connection {
  int fd;
  char *left; /* what the kernel has not taken yet; reading waits for it */
  size_t from, to;
};

static char buffer[ROOM];
static int poller;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int listening(const char *kind, const char *path) {
  int datagrams = !strcmp(kind, "udp"), local = !strcmp(kind, "unix");
  int fd = socket(local ? AF_UNIX : AF_INET,
                  (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (local) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    if (bind(fd, (struct sockaddr *)&name, sizeof name)) fail("bind");
    printf("%s\n", path);
  } else {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    if (bind(fd, (struct sockaddr *)&name, length)) fail("bind");
    getsockname(fd, (struct sockaddr *)&name, &length);
    printf("%d\n", ntohs(name.sin_port));
  }
  if (!datagrams && listen(fd, 4096)) fail("listen");
  fflush(stdout);
  return fd;
}

static void watch(struct connection *c, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(poller, operation, c->fd, &event)) fail("epoll_ctl");
}

static void drop(struct connection *c) {
  close(c->fd);
  free(c->left);
  free(c);
}

static void welcome(int fd) {
  int on = 1;
  for (;;) {
    int new = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (new < 0) return;
    setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    if (!c) fail("calloc");
    c->fd = new;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
  }
}

static void answer(struct connection *c) {
  ssize_t n = recv(c->fd, buffer, ROOM, 0);
  if (n <= 0) {
    if (n == 0 || errno != EAGAIN) drop(c);
    return;
  }
  ssize_t sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
  if (sent == n) return;
  if (sent < 0) {
    if (errno != EAGAIN) {
      drop(c);
      return;
    }
    sent = 0;
  }
  c->to = (size_t)(n - sent);
  c->from = 0;
  c->left = malloc(c->to);
  if (!c->left) fail("malloc");
  memcpy(c->left, buffer + sent, c->to);
  watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

static void send_rest(struct connection *c) {
  ssize_t n = send(c->fd, c->left + c->from, c->to - c->from, MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN) drop(c);
    return;
  }
  c->from += (size_t)n;
  if (c->from < c->to) return;
  free(c->left);
  c->left = NULL;
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void answer_datagrams(int fd) {
  struct sockaddr_in peer;
  for (;;) {
    socklen_t length = sizeof peer;
    ssize_t n = recvfrom(fd, buffer, ROOM, 0, (struct sockaddr *)&peer, &length);
    if (n < 0) return;
    sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&peer, length);
  }
}

int main(int argc, char **argv) {
  struct epoll_event events[512];
  struct rlimit files;
  if (argc < 2 || (!strcmp(argv[1], "unix") && argc < 3)) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  poller = epoll_create1(EPOLL_CLOEXEC);
  int datagrams = !strcmp(argv[1], "udp");
  struct connection listener = {.fd = listening(argv[1], argv[2])};
  watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
  for (;;) {
    int n = epoll_wait(poller, events, 512, -1);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (c == &listener && datagrams) answer_datagrams(c->fd);
      else if (c == &listener) welcome(c->fd);
      else if (c->left) send_rest(c);
      else answer(c);
    }
  }
}
