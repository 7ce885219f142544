/* load: the other end of the server benchmarks. `evenloop bench` builds and runs it.

   It keeps connections to an echo server, sends a message on some of them, waits until it has come
   back in full, and sends the next. It reads the processor clock of the server's process itself,
   at both ends of the measured time, so that connecting and warming up do not count.

     load KIND ADDRESS [-s SIZE] [-c CONNECTIONS] [-w WINDOW] [-t SECONDS] [-p PID] [-H]

   KIND is tcp, tls, udp (ADDRESS: a port of 127.0.0.1) or unix (ADDRESS: a path). At most WINDOW
   connections have a message under way (0: all); they take turns. Prints one line of JSON:
   messages, seconds, cpu (of PID, in seconds), lost (datagrams sent again).

   -H holds: after one echo on each it prints {"held": N} and keeps them until stdin closes.

   Linux only. TLS if compiled with -DWITH_TLS (and linked with ssl and crypto). */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

#define BATCH 64           /* connections that are opened at once */
#define STALLED 10.0       /* seconds without any echo before giving up */
#define LOST 0.2           /* seconds after which a datagram is sent again */
#define PER_ADDRESS 10000  /* connections from one local address: ports are few */

struct connection {
  int fd;
  int active;      /* a message is under way */
  int wants_write; /* EPOLLOUT is registered */
  size_t sent, received;
  double since;
#ifdef WITH_TLS
  SSL *ssl;
#endif
};

static enum { TCP, TLS, UDP, UNIX } kind;
static const char *address;
static size_t size = 1024;
static int count = 1, window;
static double seconds = 1;
static pid_t server;
static int holding;

static struct connection *all;
static int *idle, idle_head, idle_count; /* a queue of those without a message */
static int poller;
static char *message, *scratch;
static size_t scratch_size = 1 << 18;
static long messages, lost;
#ifdef WITH_TLS
static SSL_CTX *context;
#endif

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

static double clock_of(clockid_t id) {
  struct timespec now;
  if (clock_gettime(id, &now)) fail("clock: %s", strerror(errno));
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double now(void) { return clock_of(CLOCK_MONOTONIC); }

/* ---- one connection ---- */

static void watch(struct connection *c, int write) {
  if (c->wants_write == write) return;
  struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) fail("epoll: %s", strerror(errno));
  c->wants_write = write;
}

/* Like send and recv: -1 with EAGAIN if it has to wait (EALREADY: for the other side's bytes),
   0 from get() at the end. */
static ssize_t put(struct connection *c, const char *data, size_t length) {
#ifdef WITH_TLS
  if (c->ssl) {
    int n = SSL_write(c->ssl, data, (int)length);
    if (n > 0) return n;
    int error = SSL_get_error(c->ssl, n);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail("TLS: error %d", error);
    errno = error == SSL_ERROR_WANT_WRITE ? EAGAIN : EALREADY;
    return -1;
  }
#endif
  return send(c->fd, data, length, MSG_NOSIGNAL);
}

static ssize_t get(struct connection *c) {
#ifdef WITH_TLS
  if (c->ssl) {
    int n = SSL_read(c->ssl, scratch, (int)scratch_size);
    if (n > 0) return n;
    int error = SSL_get_error(c->ssl, n);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail("TLS: error %d", error);
    errno = EAGAIN;
    return -1;
  }
#endif
  return recv(c->fd, scratch, scratch_size, 0);
}

static void push_on(struct connection *c) {
  int full = 0;
  while (c->sent < size) {
    ssize_t n = put(c, message + c->sent, size - c->sent);
    if (n < 0) {
      full = errno == EAGAIN;
      if (full || errno == EALREADY || (kind == UDP && errno == ENOBUFS)) break;
      fail("send: %s", strerror(errno));
    }
    c->sent += (size_t)n;
  }
  watch(c, full);
}

static void begin(struct connection *c) {
  c->active = 1;
  c->sent = c->received = 0;
  if (kind == UDP) c->since = now();
  push_on(c);
}

static void next(void) {
  if (!idle_count) return;
  struct connection *c = &all[idle[idle_head]];
  idle_head = (idle_head + 1) % count;
  idle_count--;
  begin(c);
}

static void rest(struct connection *c) {
  c->active = 0;
  idle[(idle_head + idle_count) % count] = (int)(c - all);
  idle_count++;
}

/* Take what came; returns 1 when the message is back in full. */
static int pull(struct connection *c) {
  for (;;) {
    ssize_t n = get(c);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) fail("recv: %s", strerror(errno));
    if (n == 0) fail("the server closed a connection");
    if (!c->active) continue; /* a datagram that was thought lost */
    c->received += (size_t)n;
    if (c->received > size) fail("the server sent back more than it got");
    if (c->received == size) return 1;
    /* A short read emptied the socket: epoll tells when there is more. */
#ifdef WITH_TLS
    if (c->ssl) continue;
#endif
    if ((size_t)n < scratch_size) return 0;
  }
}

static void connect_one(int number) {
  struct connection *c = &all[number];
  struct sockaddr_in inet = {.sin_family = AF_INET};
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  int on = 1, status;
  memset(c, 0, sizeof *c);
  c->fd = socket(kind == UNIX ? AF_UNIX : AF_INET,
                 (kind == UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket: %s", strerror(errno));
  if (kind == UNIX) {
    strncpy(local.sun_path, address, sizeof local.sun_path - 1);
    status = connect(c->fd, (struct sockaddr *)&local, sizeof local);
  } else {
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number / PER_ADDRESS));
    if (number >= PER_ADDRESS) {
      setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
      if (bind(c->fd, (struct sockaddr *)&inet, sizeof inet)) fail("bind: %s", strerror(errno));
    }
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    inet.sin_port = htons((uint16_t)atoi(address));
    status = connect(c->fd, (struct sockaddr *)&inet, sizeof inet);
  }
  if (status) fail("connection %d: %s", number, strerror(errno));
  if (kind == TCP || kind == TLS) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef WITH_TLS
  if (kind == TLS) {
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
  }
#endif
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll: %s", strerror(errno));
}

/* ---- all of them ---- */

static void send_again(void) {
  double limit = now() - LOST;
  for (int i = 0; i < count; i++)
    if (all[i].active && all[i].since < limit) {
      lost++;
      begin(&all[i]);
    }
}

/* Turn until `until`, or, if that is 0, until nothing is under way. */
static void turn(double until, int keep_going) {
  struct epoll_event events[512];
  double last_echo = now(), last_look = last_echo;
  for (;;) {
    double time = now();
    if (until > 0 && time >= until) return;
    if (until == 0 && idle_count == count) return;
    if (time - last_echo > STALLED) fail("no echo for %.0f seconds", STALLED);
    if (kind == UDP && time - last_look > LOST) {
      send_again();
      last_look = time;
    }
    int wait = until > 0 ? (int)((until - time) * 1e3) + 1 : 100;
    int n = epoll_wait(poller, events, 512, wait > 100 ? 100 : wait);
    if (n < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->active && c->sent < size) push_on(c);
      if (!pull(c)) continue;
      messages++;
      last_echo = time;
      rest(c);
      if (keep_going) next();
    }
  }
}

static void open_all(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < (rlim_t)count + 20) fail("%d connections: the limit is %ld descriptors",
                                                count, (long)files.rlim_cur);
  for (int opened = 0; opened < count;) {
    int end = opened + BATCH < count ? opened + BATCH : count;
    int first = opened;
    for (; opened < end; opened++) connect_one(opened);
    /* Those not yet opened count as idle for the moment: all that are open answer once. */
    idle_head = 0;
    idle_count = count - (end - first);
    for (int i = 0; i < idle_count; i++) idle[i] = 0;
    for (int i = first; i < end; i++) begin(&all[i]);
    turn(0, 0);
  }
  idle_head = 0;
  idle_count = count;
  for (int i = 0; i < count; i++) idle[i] = i;
}

static void read_options(int argc, char **argv) {
  if (argc < 3) fail("load KIND ADDRESS [options]");
  if (!strcmp(argv[1], "tcp")) kind = TCP;
  else if (!strcmp(argv[1], "tls")) kind = TLS;
  else if (!strcmp(argv[1], "udp")) kind = UDP;
  else if (!strcmp(argv[1], "unix")) kind = UNIX;
  else fail("no kind %s", argv[1]);
  address = argv[2];
  for (int option; (option = getopt(argc - 2, argv + 2, "s:c:w:t:p:H")) != -1;) switch (option) {
      case 's': size = (size_t)atol(optarg); break;
      case 'c': count = atoi(optarg); break;
      case 'w': window = atoi(optarg); break;
      case 't': seconds = atof(optarg); break;
      case 'p': server = (pid_t)atoi(optarg); break;
      case 'H': holding = 1; break;
      default: exit(2);
    }
  if (size < 1 || count < 1) fail("nothing to do");
  if (window < 1 || window > count) window = count;
}

int main(int argc, char **argv) {
  clockid_t cpu = CLOCK_PROCESS_CPUTIME_ID;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  read_options(argc, argv);
#ifdef WITH_TLS
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
#else
  if (kind == TLS) fail("compiled without TLS");
#endif
  if (server && clock_getcpuclockid(server, &cpu)) fail("no process %d", (int)server);
  message = malloc(size);
  scratch = malloc(scratch_size);
  all = calloc((size_t)count, sizeof *all);
  idle = calloc((size_t)count, sizeof *idle);
  if (!message || !scratch || !all || !idle) fail("out of memory");
  memset(message, 'x', size);
  poller = epoll_create1(EPOLL_CLOEXEC);
  open_all();

  if (holding) {
    char byte;
    printf("{\"held\": %d}\n", count);
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {}
    return 0;
  }
  for (int i = 0; i < window; i++) next();
  turn(now() + seconds / 5, 1); /* warm up */
  messages = lost = 0;
  double from = now(), used = clock_of(cpu);
  turn(from + seconds, 1);
  used = clock_of(cpu) - used;
  from = now() - from;
  printf("{\"messages\": %ld, \"seconds\": %.9f, \"cpu\": %.9f, \"lost\": %ld}\n", messages, from,
         used, lost);
  return 0;
}
