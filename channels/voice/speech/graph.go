package speech

import (
	"encoding/binary"
	"math"
	"strconv"
)

// graph writes a model for the ONNX Runtime (onnx.proto: ModelProto, GraphProto, NodeProto ... by their numbers of fields).
type graph struct {
	body  []byte // of GraphProto
	names int
}

// field appends a field that has bytes.
func field(b []byte, number int, content []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number<<3|2))
	b = binary.AppendUvarint(b, uint64(len(content)))
	return append(b, content...)
}

// wholeNumber appends a field that is a whole number.
func wholeNumber(b []byte, number int, v int64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(number<<3)), uint64(v))
}

// attribute of a node: a float32, an int or []int.
type attribute struct {
	name  string
	value any
}

func (a attribute) proto() []byte {
	b := field(nil, 1, []byte(a.name))
	switch v := a.value.(type) {
	case float32:
		b = binary.LittleEndian.AppendUint32(binary.AppendUvarint(b, 2<<3|5), math.Float32bits(v))
		b = wholeNumber(b, 20, 1)
	case int:
		b = wholeNumber(wholeNumber(b, 3, int64(v)), 20, 2)
	case []int:
		for _, i := range v {
			b = wholeNumber(b, 8, int64(i))
		}
		b = wholeNumber(b, 20, 7)
	}
	return b
}

const contributed = "com.microsoft" // operators that the ONNX Runtime has beyond the standard

// node adds an operator with its outputs' names.
func (g *graph) node(op string, in, out []string, attributes ...attribute) {
	var b []byte
	for _, name := range in {
		b = field(b, 1, []byte(name))
	}
	for _, name := range out {
		b = field(b, 2, []byte(name))
	}
	b = field(b, 4, []byte(op))
	for _, a := range attributes {
		b = field(b, 5, a.proto())
	}
	if op == "Gelu" {
		b = field(b, 7, []byte(contributed))
	}
	g.body = field(g.body, 1, b)
}

// do adds an operator with one output, and names that.
func (g *graph) do(op string, in []string, attributes ...attribute) string {
	g.names++
	out := "v" + strconv.Itoa(g.names)
	g.node(op, in, []string{out}, attributes...)
	return out
}

// constant adds numbers that do not change.
func (g *graph) constant(name string, shape []int, of int, raw []byte) string {
	var b []byte
	for _, d := range shape {
		b = wholeNumber(b, 1, int64(d))
	}
	b = field(field(wholeNumber(b, 2, int64(of)), 8, []byte(name)), 9, raw)
	g.body = field(g.body, 5, b)
	return name
}

func (g *graph) floats(name string, shape []int, v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return g.constant(name, shape, ortFloat, raw)
}

func (g *graph) ints(name string, v ...int64) string {
	var raw []byte
	for _, i := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(i))
	}
	return g.constant(name, []int{len(v)}, ortInt64, raw)
}

// put declares an input (field 11) or output (12); a negative length may be any.
func (g *graph) put(number int, name string, of int, shape ...int) {
	var dims []byte
	for i, d := range shape {
		if d < 0 {
			dims = field(dims, 1, field(nil, 2, []byte(name+strconv.Itoa(i))))
		} else {
			dims = field(dims, 1, wholeNumber(nil, 1, int64(d)))
		}
	}
	tensor := field(wholeNumber(nil, 1, int64(of)), 2, dims)
	g.body = field(g.body, number, field(field(nil, 1, []byte(name)), 2, field(nil, 1, tensor)))
}

func (g *graph) input(name string, of int, shape ...int)  { g.put(11, name, of, shape...) }
func (g *graph) output(name string, of int, shape ...int) { g.put(12, name, of, shape...) }

// model is the file.
func (g *graph) model() []byte {
	opset := func(domain string, version int64) []byte {
		return wholeNumber(field(nil, 1, []byte(domain)), 2, version)
	}
	b := wholeNumber(nil, 1, 8) // IR version
	b = field(b, 2, []byte("patchbay"))
	b = field(b, 7, field(g.body, 2, []byte("model")))
	return field(field(b, 8, opset("", 17)), 8, opset(contributed, 1))
}
