package speech

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// onnx is the ONNX Runtime, called through its table of functions (onnxruntime_c_api.h, struct OrtApi: places are never
// changed, only added). It lives as long as the process.
type onnx struct {
	table  uintptr
	env    uintptr
	memory uintptr
}

// Places in the table.
const (
	ortErrorMessage   = 2
	ortCreateEnv      = 3
	ortCreateSession  = 7
	ortRun            = 9
	ortSessionOptions = 10
	ortOneArena       = 19 // DisableCpuMemArena
	ortIntraThreads   = 24
	ortInterThreads   = 25
	ortTensorWithData = 49
	ortTensorData     = 51
	ortCpuMemory      = 69
	ortReleaseStatus  = 93
	ortReleaseSession = 95
	ortReleaseValue   = 96
	ortReleaseOptions = 100

	ortVersion = 17 // of the table that we ask for; any newer library has it
)

func openONNX(path string) (*onnx, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL) // sherpa-onnx finds its symbols in this one
	if err != nil {
		return nil, err
	}
	base, err := purego.Dlsym(lib, "OrtGetApiBase")
	if err != nil {
		return nil, err
	}
	b, _, _ := purego.SyscallN(base)
	get := *(*uintptr)(pointer(b))
	o := &onnx{}
	if o.table, _, _ = purego.SyscallN(get, ortVersion); o.table == 0 {
		return nil, errors.New("the ONNX Runtime is too old")
	}
	name := cstring("patchbay")
	defer runtime.KeepAlive(name)
	if err := o.call(ortCreateEnv, 3, address(name), uintptr(unsafe.Pointer(&o.env))); err != nil { // 3: errors only
		return nil, err
	}
	return o, o.call(ortCpuMemory, 0, 0, uintptr(unsafe.Pointer(&o.memory)))
}

// pointer reads an address that native code gave; it is no Go memory.
func pointer(a uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

// cstring is s with the zero that C wants at the end.
func cstring(s string) []byte { return append([]byte(s), 0) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func gostring(a uintptr) string {
	if a == 0 {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(pointer(a), n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(pointer(a)), n))
}

func (o *onnx) function(place int) uintptr {
	return *(*uintptr)(unsafe.Add(pointer(o.table), place*int(unsafe.Sizeof(uintptr(0)))))
}

// call calls a function that returns a status.
//
//go:uintptrescapes
func (o *onnx) call(place int, args ...uintptr) error {
	status, _, _ := purego.SyscallN(o.function(place), args...)
	if status == 0 {
		return nil
	}
	text, _, _ := purego.SyscallN(o.function(ortErrorMessage), status)
	err := fmt.Errorf("onnxruntime: %.300s", gostring(text))
	purego.SyscallN(o.function(ortReleaseStatus), status)
	return err
}

func (o *onnx) release(place int, what uintptr) {
	if what != 0 {
		purego.SyscallN(o.function(place), what)
	}
}

// session loads a model, to be run by one thread at a time per call.
func (o *onnx) session(path string) (uintptr, error) {
	var options, session uintptr
	if err := o.call(ortSessionOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return 0, err
	}
	defer o.release(ortReleaseOptions, options)
	for _, place := range []int{ortIntraThreads, ortInterThreads} {
		if err := o.call(place, options, 1); err != nil {
			return 0, err
		}
	}
	name := cstring(path)
	defer runtime.KeepAlive(name)
	err := o.call(ortCreateSession, o.env, address(name), options, uintptr(unsafe.Pointer(&session)))
	return session, err
}

// Tensor types.
const (
	ortFloat = 1
	ortInt8  = 3
	ortInt64 = 7
)

// run runs a session; of an output that is 0 the runtime makes the value, which the caller releases. Names end in a zero.
func (o *onnx) run(session uintptr, inNames [][]byte, in []uintptr, outNames [][]byte, out []uintptr) error {
	addresses := func(names [][]byte) []uintptr {
		all := make([]uintptr, len(names))
		for i, n := range names {
			all[i] = address(n)
		}
		return all
	}
	a, b := addresses(inNames), addresses(outNames)
	err := o.call(ortRun, session, 0, uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&in[0])), uintptr(len(in)), uintptr(unsafe.Pointer(&b[0])), uintptr(len(out)),
		uintptr(unsafe.Pointer(&out[0])))
	runtime.KeepAlive(inNames)
	runtime.KeepAlive(outNames)
	return err
}

// tensor lends memory to the runtime; the caller keeps data alive and pinned until it has released the value.
func (o *onnx) tensor(data unsafe.Pointer, bytes int, shape []int64, of int) (uintptr, error) {
	var value uintptr
	err := o.call(ortTensorWithData, o.memory, uintptr(data), uintptr(bytes), uintptr(unsafe.Pointer(unsafe.SliceData(shape))), uintptr(len(shape)), uintptr(of),
		uintptr(unsafe.Pointer(&value)))
	runtime.KeepAlive(shape)
	return value, err
}
