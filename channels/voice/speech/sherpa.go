package speech

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// sherpa is sherpa-onnx's C library (c-api.h of 1.13.8; the structs below are its, field by field). It ends the process
// when a model is not what it expects, which is one of the reasons for the child.
type sherpa struct {
	createRecognizer, createStream, accept, decode, result, destroyResult, destroyStream uintptr
	createVoice, generate, destroySound                                                  uintptr
}

func openSherpa(path string) (*sherpa, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	s := &sherpa{}
	for name, f := range map[string]*uintptr{
		"CreateOfflineRecognizer":         &s.createRecognizer,
		"CreateOfflineStream":             &s.createStream,
		"AcceptWaveformOffline":           &s.accept,
		"DecodeOfflineStream":             &s.decode,
		"GetOfflineStreamResult":          &s.result,
		"DestroyOfflineRecognizerResult":  &s.destroyResult,
		"DestroyOfflineStream":            &s.destroyStream,
		"CreateOfflineTts":                &s.createVoice,
		"OfflineTtsGenerateWithConfig":    &s.generate,
		"DestroyOfflineTtsGeneratedAudio": &s.destroySound,
	} {
		if *f, err = purego.Dlsym(lib, "SherpaOnnx"+name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// strings of C for a struct, kept until the call is over.
type lent struct{ kept [][]byte }

func (l *lent) string(s string) uintptr {
	if s == "" {
		return 0
	}
	l.kept = append(l.kept, cstring(s))
	return address(l.kept[len(l.kept)-1])
}

// recognizerConfig is SherpaOnnxOfflineRecognizerConfig; the models that we do not use are room.
type recognizerConfig struct {
	sampleRate, featureDim int32
	transducer             [3]uintptr
	paraformer, nemo       uintptr
	whisper                struct {
		encoder, decoder, language, task uintptr
		padding, tokenTimes, segments    int32
	}
	tdnn                                        uintptr
	tokens                                      uintptr
	threads, debug                              int32
	provider, modelType, unit, vocabulary, tele uintptr
	senseVoice                                  struct {
		model, language uintptr
		itn             int32
	}
	moonshine struct{ preprocessor, encoder, uncached, cached, merged uintptr }
	fireRed   [2]uintptr
	dolphin   uintptr
	zipformer uintptr
	canary    struct {
		encoder, decoder, from, to uintptr
		punctuation                int32
	}
	wenet, omnilingual, medasr uintptr
	funasr                     struct {
		encoder, llm, embedding, tokenizer, system, user uintptr
		tokens                                           int32
		temperature, topP                                float32
		seed                                             int32
		language                                         uintptr
		itn                                              int32
		hotwords                                         uintptr
	}
	fireRedCTC uintptr
	qwen       struct {
		frontend, encoder, decoder, tokenizer uintptr
		total, tokens                         int32
		temperature, topP                     float32
		seed                                  int32
		hotwords                              uintptr
	}
	cohere struct {
		encoder, decoder, language uintptr
		punctuation, itn           int32
	}
	lm struct {
		model uintptr
		scale float32
	}
	method        uintptr
	paths         int32
	hotwords      uintptr
	hotwordsScore float32
	fsts, fars    uintptr
	blankPenalty  float32
	homophones    [3]uintptr
}

// recogniser knows whole utterances of one language. Any number of threads may use it at once.
type recogniser struct {
	lib    *sherpa
	handle uintptr
}

func (s *sherpa) moonshine(encoder, decoder, tokens string) (*recogniser, error) {
	var l lent
	c := &recognizerConfig{sampleRate: Wide, featureDim: 80, threads: 1, blankPenalty: 0, paths: 4}
	c.tokens, c.provider, c.method = l.string(tokens), l.string("cpu"), l.string("greedy_search")
	c.moonshine.encoder, c.moonshine.merged = l.string(encoder), l.string(decoder)
	handle, _, _ := purego.SyscallN(s.createRecognizer, uintptr(unsafe.Pointer(c)))
	runtime.KeepAlive(l)
	if handle == 0 {
		return nil, fmt.Errorf("sherpa-onnx does not take %s", encoder)
	}
	return &recogniser{s, handle}, nil
}

// text of a piece of sound at 16 kHz.
func (r *recogniser) text(pcm []float32) string {
	stream, _, _ := purego.SyscallN(r.lib.createStream, r.handle)
	defer purego.SyscallN(r.lib.destroyStream, stream)
	purego.SyscallN(r.lib.accept, stream, Wide, uintptr(unsafe.Pointer(unsafe.SliceData(pcm))), uintptr(len(pcm)))
	purego.SyscallN(r.lib.decode, r.handle, stream)
	result, _, _ := purego.SyscallN(r.lib.result, stream)
	if result == 0 {
		return ""
	}
	defer purego.SyscallN(r.lib.destroyResult, result)
	return strings.TrimSpace(gostring(*(*uintptr)(pointer(result)))) // its first field
}

// voiceConfig is SherpaOnnxOfflineTtsConfig.
type voiceConfig struct {
	vits struct {
		model, lexicon, tokens, data uintptr
		noise, noiseWidth, length    float32
		dict                         uintptr
	}
	threads, debug int32
	provider       uintptr
	matcha         struct {
		acoustic, vocoder, lexicon, tokens, data uintptr
		noise, length                            float32
		dict                                     uintptr
	}
	kokoro struct {
		model, voices, tokens, data uintptr
		length                      float32
		dict, lexicon, language     uintptr
	}
	kitten struct {
		model, voices, tokens, data uintptr
		length                      float32
	}
	zipvoice struct {
		tokens, encoder, decoder, vocoder, data, lexicon uintptr
		scale, shift, rms, guidance                      float32
	}
	pocket struct {
		flow, main, encoder, decoder, conditioner, vocabulary, scores uintptr
		cache                                                         int32
	}
	supertonic   [7]uintptr
	fsts         uintptr
	sentences    int32
	fars         uintptr
	silenceScale float32
}

// generation is SherpaOnnxGenerationConfig.
type generation struct {
	silenceScale, speed      float32
	speaker                  int32
	reference                uintptr
	referenceLen, sampleRate int32
	text                     uintptr
	steps                    int32
	extra                    uintptr
}

// sound is SherpaOnnxGeneratedAudio.
type sound struct {
	samples uintptr
	n, rate int32
}

// voice speaks. Any number of threads may use it at once.
type voice struct {
	lib    *sherpa
	handle uintptr
}

func (s *sherpa) piper(model, tokens, espeak string) (*voice, error) {
	var l lent
	c := &voiceConfig{threads: 1, sentences: 1, silenceScale: 0.2}
	c.vits.model, c.vits.tokens, c.vits.data = l.string(model), l.string(tokens), l.string(espeak)
	c.vits.noise, c.vits.noiseWidth, c.vits.length = 0.667, 0.8, 1
	c.provider = l.string("cpu")
	handle, _, _ := purego.SyscallN(s.createVoice, uintptr(unsafe.Pointer(c)))
	runtime.KeepAlive(l)
	if handle == 0 {
		return nil, fmt.Errorf("sherpa-onnx does not take %s", model)
	}
	return &voice{s, handle}, nil
}

// speak makes the sound of a text, with its rate.
func (v *voice) speak(text string) ([]int16, int) {
	words := cstring(text)
	g := &generation{silenceScale: 0.2, speed: 1}
	made, _, _ := purego.SyscallN(v.lib.generate, v.handle, address(words), uintptr(unsafe.Pointer(g)), 0, 0)
	runtime.KeepAlive(words)
	if made == 0 {
		return nil, 0
	}
	defer purego.SyscallN(v.lib.destroySound, made)
	a := (*sound)(pointer(made))
	if a.samples == 0 || a.n <= 0 {
		return nil, 0
	}
	pcm := make([]int16, a.n)
	for i, f := range unsafe.Slice((*float32)(pointer(a.samples)), a.n) {
		pcm[i] = int16(32767 * min(max(f, -1), 1))
	}
	return pcm, int(a.rate)
}
