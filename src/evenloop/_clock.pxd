# The C twin of _clock.py: the same clock and the same floats, without a call into Python.

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030D0000
    static inline double evenloop_clock(void)
    {
        PyTime_t now;
        /* It fails only where the system has no clock, and then Python had not started. */
        (void)PyTime_MonotonicRaw(&now);
        return PyTime_AsSecondsDouble(now);
    }
    #else
    static inline double evenloop_clock(void)
    {
    #ifdef MS_WINDOWS
        return _PyTime_AsSecondsDouble(_PyTime_GetPerfCounter());
    #else
        return _PyTime_AsSecondsDouble(_PyTime_GetMonotonicClock());
    #endif
    }
    #endif
    """
    double evenloop_clock() noexcept nogil


cdef inline double clock() noexcept:
    return evenloop_clock()
