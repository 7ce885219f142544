cpdef object read_cached(int fd, Py_ssize_t size, long long offset)
