# What is said of rings in `ring.pyx`, and the kernel's own words for it.
#
# The C library's headers are often older than the kernel that runs, and liburing is one more
# thing to install: so the parts of the kernel's interface that are used here are written down.

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t, uint8_t

cdef extern from *:
    """
    #ifndef EVENLOOP_RING
    #define EVENLOOP_RING
    #include <stdint.h>

    /* A request, as the kernel reads it: 64 bytes, of which some have many names. */
    struct evenloop_sqe {
        uint8_t opcode;
        uint8_t flags;
        uint16_t ioprio;        /* for sockets and accepts: multishot and its like */
        int32_t fd;
        uint64_t offset;
        uint64_t address;
        uint32_t length;
        uint32_t op_flags;      /* of poll, recv, accept, fsync, cancel ... */
        uint64_t user_data;
        uint16_t group;         /* of provided buffers */
        uint16_t personality;
        int32_t file_index;
        uint64_t more[2];
    };
    _Static_assert(sizeof(struct evenloop_sqe) == 64, "the kernel's request has 64 bytes");

    struct evenloop_cqe {
        uint64_t user_data;
        int32_t result;
        uint32_t flags;
    };
    #endif
    """
    ctypedef struct Sqe "struct evenloop_sqe":
        uint8_t opcode
        uint8_t flags
        uint16_t ioprio
        int32_t fd
        uint64_t offset
        uint64_t address
        uint32_t length
        uint32_t op_flags
        uint64_t user_data
        uint16_t group
    ctypedef struct Cqe "struct evenloop_cqe":
        uint64_t user_data
        int32_t result
        uint32_t flags

# io_uring_register()
cdef int ring_register(int fd, unsigned int what, void* argument, unsigned int count) noexcept

cdef enum:
    # Requests.
    OP_NOP = 0
    OP_FSYNC = 3
    OP_POLL_ADD = 6
    OP_SENDMSG = 9
    OP_RECVMSG = 10
    OP_ACCEPT = 13
    OP_ASYNC_CANCEL = 14
    OP_READ = 22
    OP_WRITE = 23
    OP_SEND = 26
    OP_RECV = 27
    OP_SPLICE = 30
    OP_READ_MULTISHOT = 49
    # Flags of any request.
    SQE_LINK = 1 << 2
    SQE_ASYNC = 1 << 4
    SQE_BUFFER_SELECT = 1 << 5
    SQE_SKIP_SUCCESS = 1 << 6
    # Flags of one kind, in `ioprio`, `length` or `op_flags`.
    RECV_MULTISHOT = 1 << 1
    ACCEPT_MULTISHOT = 1 << 0
    POLL_MULTISHOT = 1 << 0
    FSYNC_DATA = 1 << 0
    CANCEL_ALL = 1 << 0
    CANCEL_ANY = 1 << 2
    # Flags of what came.
    CQE_BUFFER = 1 << 0
    CQE_MORE = 1 << 1
    CQE_SOCKET_NONEMPTY = 1 << 2
    CQE_BUFFER_SHIFT = 16
    # How a ring was set up.
    SETUP_COOP_TASKRUN = 1 << 8
    SETUP_SINGLE_ISSUER = 1 << 12
    SETUP_DEFER_TASKRUN = 1 << 13

    # Requests of one `Request` that may be in flight at a time: `role` is one of so many.
    ROLE_BITS = 3


cdef class Request:
    cdef int index
    cdef int flying

    cdef object arrived(self, int role, int result, unsigned int flags)


cdef class Ring:
    cdef readonly int fd
    cdef readonly unsigned int features
    cdef readonly unsigned int setup
    cdef readonly Py_ssize_t enters
    cdef bint _disabled
    cdef unsigned int _enter_flags
    cdef void* _rings
    cdef size_t _rings_size
    cdef Sqe* _sqes
    cdef size_t _sqes_size
    cdef unsigned int* _sq_head
    cdef unsigned int* _sq_tail
    cdef unsigned int* _sq_flags
    cdef unsigned int _sq_mask
    cdef unsigned int _sq_entries
    cdef unsigned int _tail
    cdef unsigned int* _cq_head
    cdef unsigned int* _cq_tail
    cdef unsigned int* _cq_lost
    cdef unsigned int _cq_mask
    cdef Cqe* _cqes
    cdef bytearray _opcodes
    cdef list _table
    cdef list _free

    cdef Sqe* prepare(self, Request request, int role) except NULL
    cdef object cancel(self, Request request, int role)
    cdef object cancel_all(self)
    cdef int enter(self, unsigned int count, double timeout)
    cdef int flush(self)
    cdef object end_all(self)
    cdef bint has_news(self)
    cdef bint has_work(self)
    cdef int count_news(self)
    cdef bint deliver_one(self) except -1
    cdef list abandon(self)
    cdef object _map(self, void* parameters)
    cdef object _unmap(self)


cdef class Call(Request):
    cdef object _callback
    cdef object _keep
