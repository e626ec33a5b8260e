package speech

import (
	"fmt"
	"math"
	"strconv"
)

// The making of Whisper's two graphs for the ONNX Runtime, of the weights as CTranslate2 has them: eight bits a weight, one unused, with a scale for each
// column, and numbers between them in eight bits as well, which is what makes it fast enough for a call. The shape of the model
// (A. Radford and others, Robust Speech Recognition via Large-Scale Weak Supervision, 2022) is read off the weights.
//
//	encoder: mel [1,80,T], places [T/2] (0, 1, 2 ...)                 -> heard key and value of each of the decoder's layers
//	decoder: tokens [n], places [n], mask [1,1,n,past+n],
//	         each layer's past and heard key and value                -> logits [1,tokens] of the last; each layer's past with these
type whisperMaker struct {
	weights map[string]weights
	g       *graph
	err     error
	width   int
	heads   int
	named   map[string]bool
}

const whisperHead = 64 // numbers of one head of attention, in every size of the model

// sizes of the model, and whether all weights are there is found out as they are used.
func newWhisperMaker(all map[string]weights) *whisperMaker {
	m := &whisperMaker{weights: all, g: &graph{}, named: map[string]bool{}}
	m.width = m.get("decoder/layer_norm/gamma").count()
	m.heads = max(1, m.width/whisperHead)
	return m
}

func (m *whisperMaker) layers(part string) int {
	n := 0
	for m.weights[part+"/layer_"+strconv.Itoa(n)+"/ffn/linear_0/weight"].half != nil {
		n++
	}
	return n
}

func (m *whisperMaker) get(name string, shape ...int) weights {
	w := m.weights[name]
	count := 1
	for _, d := range shape {
		count *= d
	}
	if m.err == nil && (w.half == nil || len(shape) > 0 && w.count() != count) {
		m.err = fmt.Errorf("%s has %d numbers, %v were expected", name, w.count(), shape)
	}
	if m.err != nil {
		return weights{shape: shape, half: make([]byte, 2*count)}
	}
	return w
}

// plain is a variable as it is.
func (m *whisperMaker) plain(name string, shape ...int) string {
	if !m.named[name] {
		m.named[name] = true
		m.g.floats(name, shape, m.get(name, shape...).floats())
	}
	return name
}

// small is a matrix [out,in] in eight bits, turned to [in,out], and its scales. One bit is not used: sums of two products must fit 16 bits
// on processors without VNNI.
func (m *whisperMaker) small(name string, out, in int) (matrix, scales string) {
	matrix, scales = name, name+"/scale"
	if m.named[name] {
		return
	}
	m.named[name] = true
	const top = 63
	w := m.get(name, out, in)
	raw, scale := make([]byte, out*in), make([]float32, out)
	for o := range out {
		row, most := make([]float32, in), float32(1e-9)
		for i := range row {
			row[i] = w.at(o*in + i)
			most = max(most, float32(math.Abs(float64(row[i]))))
		}
		scale[o] = most / top
		for i, v := range row {
			raw[i*out+o] = byte(int8(math.Round(float64(v / scale[o]))))
		}
	}
	m.g.constant(matrix, []int{in, out}, ortInt8, raw)
	m.g.floats(scales, []int{out}, scale)
	return
}

// times multiplies x with a matrix [out,in].
func (m *whisperMaker) times(x, name string, out, in int) string {
	matrix, scales := m.small(name, out, in)
	m.g.names++
	q := "q" + strconv.Itoa(m.g.names)
	m.g.node("DynamicQuantizeLinear", []string{x}, []string{q, q + "s", q + "z"})
	whole := m.g.do("MatMulInteger", []string{q, matrix, q + "z"})
	return m.g.do("Mul", []string{m.g.do("Cast", []string{whole}, attribute{"to", ortFloat}), m.g.do("Mul", []string{q + "s", scales})})
}

func (m *whisperMaker) linear(x, name string, out, in int) string {
	return m.g.do("Add", []string{m.times(x, name+"/weight", out, in), m.plain(name+"/bias", out)})
}

func (m *whisperMaker) norm(x, name string) string {
	return m.g.do("LayerNormalization", []string{x, m.plain(name+"/gamma", m.width), m.plain(name+"/beta", m.width)}, attribute{"axis", -1}, attribute{"epsilon", float32(1e-5)})
}

func (m *whisperMaker) add(a, b string) string { return m.g.do("Add", []string{a, b}) }

func (m *whisperMaker) split(x string, parts int) []string {
	sizes := make([]int64, parts)
	out := make([]string, parts)
	m.g.names++
	for i := range parts {
		sizes[i] = int64(m.width)
		out[i] = "s" + strconv.Itoa(m.g.names) + "_" + strconv.Itoa(i)
	}
	lengths := "parts" + strconv.Itoa(parts)
	if !m.named[lengths] {
		m.named[lengths] = true
		m.g.ints(lengths, sizes...)
	}
	m.g.node("Split", []string{x, lengths}, out, attribute{"axis", -1})
	return out
}

// toHeads parts the width: [1,n,width] becomes [1,heads,n,64], or for keys [1,heads,64,n].
func (m *whisperMaker) toHeads(x string, key bool) string {
	order := []int{0, 2, 1, 3}
	if key {
		order = []int{0, 2, 3, 1}
	}
	return m.g.do("Transpose", []string{m.g.do("Reshape", []string{x, m.shape("toheads", 1, -1, int64(m.heads), whisperHead)})}, attribute{"perm", order})
}

func (m *whisperMaker) shape(name string, v ...int64) string {
	if !m.named[name] {
		m.named[name] = true
		m.g.ints(name, v...)
	}
	return name
}

// attend is what the queries find with the keys in the values; mask may be empty.
func (m *whisperMaker) attend(query, key, value, mask string) string {
	if !m.named["headscale"] {
		m.named["headscale"] = true
		m.g.floats("headscale", nil, []float32{1 / float32(math.Sqrt(whisperHead))})
	}
	score := m.g.do("MatMul", []string{m.g.do("Mul", []string{m.toHeads(query, false), "headscale"}), key})
	if mask != "" {
		score = m.add(score, mask)
	}
	found := m.g.do("MatMul", []string{m.g.do("Softmax", []string{score}, attribute{"axis", -1}), value})
	return m.g.do("Reshape", []string{m.g.do("Transpose", []string{found}, attribute{"perm", []int{0, 2, 1, 3}}), m.shape("fromheads", 1, -1, int64(m.width))})
}

func (m *whisperMaker) feed(x, name string) string {
	inner := m.g.do("Gelu", []string{m.linear(m.norm(x, name+"/layer_norm"), name+"/linear_0", 4*m.width, m.width)})
	return m.add(x, m.linear(inner, name+"/linear_1", m.width, 4*m.width))
}

// places are the rows of a part's table of places that the input of that name has.
func (m *whisperMaker) places(part string) string {
	name := part + "/position_encodings/encodings"
	rows := m.get(name).count() / max(1, m.width)
	return m.g.do("Gather", []string{m.plain(name, rows, m.width), "places"}, attribute{"axis", 0})
}

func (m *whisperMaker) encoder() ([]byte, error) {
	m.g.input("mel", ortFloat, 1, melBands, -1)
	m.g.input("places", ortInt64, -1)
	x := "mel"
	for i, from := range []int{melBands, m.width} {
		name := "encoder/conv" + strconv.Itoa(i+1)
		x = m.g.do("Gelu", []string{m.g.do("Conv", []string{x, m.plain(name+"/weight", m.width, from, 3), m.plain(name+"/bias", m.width)},
			attribute{"pads", []int{1, 1}}, attribute{"strides", []int{i + 1}}, attribute{"kernel_shape", []int{3}})})
	}
	x = m.add(m.g.do("Transpose", []string{x}, attribute{"perm", []int{0, 2, 1}}), m.places("encoder"))
	for i := range m.layers("encoder") {
		layer := "encoder/layer_" + strconv.Itoa(i)
		own := layer + "/self_attention"
		qkv := m.split(m.linear(m.norm(x, own+"/layer_norm"), own+"/linear_0", 3*m.width, m.width), 3)
		x = m.add(x, m.linear(m.attend(qkv[0], m.toHeads(qkv[1], true), m.toHeads(qkv[2], false), ""), own+"/linear_1", m.width, m.width))
		x = m.feed(x, layer+"/ffn")
	}
	x = m.norm(x, "encoder/layer_norm")
	for i := range m.layers("decoder") {
		kv := m.split(m.linear(x, "decoder/layer_"+strconv.Itoa(i)+"/attention/linear_1", 2*m.width, m.width), 2)
		m.g.node("Identity", []string{m.toHeads(kv[0], true)}, []string{heardKey(i)})
		m.g.node("Identity", []string{m.toHeads(kv[1], false)}, []string{heardValue(i)})
		m.g.output(heardKey(i), ortFloat, 1, m.heads, whisperHead, -1)
		m.g.output(heardValue(i), ortFloat, 1, m.heads, -1, whisperHead)
	}
	return m.g.model(), m.err
}

func heardKey(i int) string   { return "heard_key" + strconv.Itoa(i) }
func heardValue(i int) string { return "heard_value" + strconv.Itoa(i) }
func pastKey(i int) string    { return "past_key" + strconv.Itoa(i) }
func pastValue(i int) string  { return "past_value" + strconv.Itoa(i) }
func nowKey(i int) string     { return "now_key" + strconv.Itoa(i) }
func nowValue(i int) string   { return "now_value" + strconv.Itoa(i) }

func (m *whisperMaker) decoder() ([]byte, error) {
	words := "decoder/embeddings/weight"
	tokens := m.get(words).count() / max(1, m.width)
	m.g.input("tokens", ortInt64, -1)
	m.g.input("places", ortInt64, -1)
	m.g.input("mask", ortFloat, 1, 1, -1, -1)
	matrix, scales := m.small(words, tokens, m.width)
	x := m.g.do("Cast", []string{m.g.do("Gather", []string{matrix, "tokens"}, attribute{"axis", 1})}, attribute{"to", ortFloat})
	x = m.g.do("Mul", []string{x, m.g.do("Gather", []string{scales, "tokens"}, attribute{"axis", 0})})
	x = m.g.do("Reshape", []string{m.g.do("Transpose", []string{x}, attribute{"perm", []int{1, 0}}), m.shape("fromheads", 1, -1, int64(m.width))})
	x = m.add(x, m.places("decoder"))
	for i := range m.layers("decoder") {
		layer := "decoder/layer_" + strconv.Itoa(i)
		own, other := layer+"/self_attention", layer+"/attention"
		for _, of := range []func(int) string{pastKey, heardKey} {
			m.g.input(of(i), ortFloat, 1, m.heads, whisperHead, -1)
		}
		for _, of := range []func(int) string{pastValue, heardValue} {
			m.g.input(of(i), ortFloat, 1, m.heads, -1, whisperHead)
		}
		qkv := m.split(m.linear(m.norm(x, own+"/layer_norm"), own+"/linear_0", 3*m.width, m.width), 3)
		key, value := nowKey(i), nowValue(i)
		m.g.node("Concat", []string{pastKey(i), m.toHeads(qkv[1], true)}, []string{key}, attribute{"axis", 3})
		m.g.node("Concat", []string{pastValue(i), m.toHeads(qkv[2], false)}, []string{value}, attribute{"axis", 2})
		m.g.output(key, ortFloat, 1, m.heads, whisperHead, -1)
		m.g.output(value, ortFloat, 1, m.heads, -1, whisperHead)
		x = m.add(x, m.linear(m.attend(qkv[0], key, value, "mask"), own+"/linear_1", m.width, m.width))
		query := m.linear(m.norm(x, other+"/layer_norm"), other+"/linear_0", m.width, m.width)
		x = m.add(x, m.linear(m.attend(query, heardKey(i), heardValue(i), ""), other+"/linear_2", m.width, m.width))
		x = m.feed(x, layer+"/ffn")
	}
	last := m.g.do("Gather", []string{m.norm(x, "decoder/layer_norm"), m.shape("last", -1)}, attribute{"axis", 1})
	last = m.g.do("Reshape", []string{last, m.shape("row", 1, int64(m.width))})
	m.g.node("Identity", []string{m.times(last, words, tokens, m.width)}, []string{"logits"})
	m.g.output("logits", ortFloat, 1, tokens)
	return m.g.model(), m.err
}
