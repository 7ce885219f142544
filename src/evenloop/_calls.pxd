# The C twins of _calls.py, inlined where a compiled module cimports them.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1
    object PyContext_CopyCurrent()
    object PyContext_New()
    object PyObject_Call(object, object, PyObject*)
    object PyObject_CallNoArgs(object)
    object PyObject_CallOneArg(object, object)


cdef extern from *:
    """
    static PyObject *evenloop_copy_variables(void)
    {
        PyObject *context = PyThreadState_Get()->context;
        if (context == NULL || Py_TYPE(context)->tp_as_mapping->mp_length(context) == 0)
            Py_RETURN_NONE;
        return PyContext_CopyCurrent();
    }
    /* Cython makes an instance's dictionary with the instance. CPython makes it when it is
       needed, and finds methods without a search as long as there is none. */
    static void evenloop_drop_dict(PyObject *instance)
    {
        PyObject **dict = _PyObject_GetDictPtr(instance);
        if (dict != NULL && *dict != NULL && PyDict_GET_SIZE(*dict) == 0)
            Py_CLEAR(*dict);
    }
    """
    object evenloop_copy_variables()
    void drop_dict "evenloop_drop_dict"(object instance)


cdef inline object copy_context():
    return PyContext_CopyCurrent()


cdef inline object copy_variables():
    return evenloop_copy_variables()


cdef inline object new_context():
    return PyContext_New()


cdef inline object call_args(object context, object callback, tuple args):
    PyContext_Enter(context)
    try:
        return PyObject_Call(callback, args, NULL)
    finally:
        PyContext_Exit(context)


cdef extern from *:
    """
    static PyObject *evenloop_call_caught(PyObject *context, PyObject *callback, PyObject *args)
    {
        PyObject *result, *error;
        if (PyContext_Enter(context) < 0)
            result = NULL;
        else {
            result = PyObject_Vectorcall(callback, ((PyTupleObject *)args)->ob_item,
                                         (size_t)PyTuple_GET_SIZE(args), NULL);
            if (PyContext_Exit(context) < 0)
                Py_CLEAR(result);
        }
        if (result != NULL) {
            Py_DECREF(result);
            Py_RETURN_NONE;
        }
        if (PyErr_ExceptionMatches(PyExc_SystemExit)
            || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
            return NULL;
    #if PY_VERSION_HEX >= 0x030C0000
        error = PyErr_GetRaisedException();
    #else
        {
            PyObject *type, *traceback;
            PyErr_Fetch(&type, &error, &traceback);
            PyErr_NormalizeException(&type, &error, &traceback);
            if (traceback != NULL)
                PyException_SetTraceback(error, traceback);
            Py_XDECREF(type);
            Py_XDECREF(traceback);
        }
    #endif
        return error;
    }
    """
    object evenloop_call_caught(object context, object callback, object args)


cdef inline object call_caught(object context, object callback, tuple args):
    return evenloop_call_caught(context, callback, args)


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
