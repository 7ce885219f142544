# The C twins of _calls.py, inlined where a compiled module cimports them.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1
    object PyContext_CopyCurrent()
    object PyObject_Call(object, object, PyObject*)
    object PyObject_CallNoArgs(object)
    object PyObject_CallOneArg(object, object)


cdef inline object copy_context():
    return PyContext_CopyCurrent()


cdef inline object call_args(object context, object callback, tuple args):
    PyContext_Enter(context)
    try:
        return PyObject_Call(callback, args, NULL)
    finally:
        PyContext_Exit(context)


cdef inline object call_none(object context, object callback):
    PyContext_Enter(context)
    try:
        return PyObject_CallNoArgs(callback)
    finally:
        PyContext_Exit(context)


cdef inline object call_one(object context, object callback, object arg):
    PyContext_Enter(context)
    try:
        return PyObject_CallOneArg(callback, arg)
    finally:
        PyContext_Exit(context)
