package speech

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What deploy/models.sh lays into Config.Models. More languages are more folders and files of the same kinds:
//
//	lib/libonnxruntime.so, lib/libsherpa-onnx-c-api.so
//	silero_vad.onnx
//	espeak-ng-data/                          how words are pronounced
//	ears/LANGUAGE-NAME/                      a Moonshine model: encoder_model.ort, decoder_model_merged.ort, tokenizer.bin
//	voices/NAME.onnx, voices/NAME.onnx.json  a Piper voice
//	whisper/                                 Whisper's weights as CTranslate2 has them, for languages that have no other recogniser
//	pico/                                    Pico's library and voices, for languages that have no other
const (
	fileRuntime = "lib/libonnxruntime.so"
	fileSherpa  = "lib/libsherpa-onnx-c-api.so"
	fileSilero  = "silero_vad.onnx"
	fileEspeak  = "espeak-ng-data/phontab"
	fileEncoder = "encoder_model.ort"
	fileDecoder = "decoder_model_merged.ort"
	fileTokens  = "tokenizer.bin"
	filePico    = "pico/_nanotts.abi3.so"

	fileWhisper       = "whisper/model.bin"
	fileWhisperTokens = "whisper/vocabulary.txt"
	fileWhisperCard   = "whisper/config.json"
)

const (
	fetch        = "bash deploy/models.sh speech"
	fetchTongues = "bash deploy/models.sh languages"
)

// fetching is the command that fetches a file.
func fetching(name string) string {
	if strings.HasPrefix(name, "whisper/") || strings.HasPrefix(name, "pico/") {
		return fetchTongues
	}
	return fetch
}

// size of the files that deploy/models.tsv names, to know a half one; a test holds the two lists together. Other files may have any.
var sizes = map[string]int64{
	fileRuntime:                             27026609,
	fileSherpa:                              5120672,
	fileSilero:                              2327524,
	"ears/en-moonshine-tiny/" + fileEncoder: 13281600,
	"ears/en-moonshine-tiny/" + fileDecoder: 30412256,
	"ears/en-moonshine-tiny/" + fileTokens:  249974,
	"voices/en_US-joe-medium.onnx":          63201294,
	"voices/en_US-joe-medium.onnx.json":     4794,
	fileWhisper:                             145217532,
	fileWhisperTokens:                       459861,
	fileWhisperCard:                         2309,
}

// shelf is the models' folder.
type shelf string

func (s shelf) path(name string) string { return filepath.Join(string(s), filepath.FromSlash(name)) }

// check says what is wrong with a file, and what cures it.
func (s shelf) check(names ...string) error {
	for _, name := range names {
		info, err := os.Stat(s.path(name))
		switch want := sizes[name]; {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is missing: %s", s.path(name), fetching(name))
		case err != nil:
			return err
		case info.Size() == 0 || want != 0 && info.Size() != want:
			return fmt.Errorf("%s is not whole: it has %d bytes, %d were expected: %s", s.path(name), info.Size(), cmp.Or(want, 1), fetching(name))
		}
	}
	return nil
}

// earModel is a recogniser's folder.
type earModel struct{ language, name string }

// ears lists the recognisers, and why there is none.
func (s shelf) ears() ([]earModel, error) {
	if err := s.check(fileRuntime, fileSherpa, fileSilero); err != nil {
		return nil, err
	}
	var all []earModel
	var broken error
	folders, _ := filepath.Glob(s.path("ears/*-*"))
	for _, f := range folders {
		name := "ears/" + filepath.Base(f)
		if err := s.check(name+"/"+fileEncoder, name+"/"+fileDecoder, name+"/"+fileTokens); err != nil {
			broken = err
			continue
		}
		language, _, _ := strings.Cut(filepath.Base(f), "-")
		all = append(all, earModel{language, name})
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, cmp.Or(broken, s.check("ears/en-moonshine-tiny/"+fileEncoder))
}

// whisper says whether Whisper is there, and when it is not whole why.
func (s shelf) whisper() (there bool, err error) {
	if _, err := os.Stat(s.path(fileWhisper)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	err = s.check(fileWhisper, fileWhisperTokens, fileWhisperCard)
	return err == nil, err
}

// voiceModel is a Piper voice.
type voiceModel struct {
	name, language string
	espeak         string // the pronunciation
	rate, speakers int
	tokens         map[string][]int
}

// voices lists the Piper voices, and why there is none.
func (s shelf) voices() ([]voiceModel, error) {
	if err := s.check(fileRuntime, fileSherpa, fileEspeak); err != nil {
		return nil, err
	}
	var all []voiceModel
	var broken error
	files, _ := filepath.Glob(s.path("voices/*.onnx"))
	for _, f := range files {
		v, err := s.voice(strings.TrimSuffix(filepath.Base(f), ".onnx"))
		if err != nil {
			broken = err
			continue
		}
		all = append(all, v)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, cmp.Or(broken, s.check("voices/en_US-joe-medium.onnx"))
}

func (s shelf) voice(name string) (voiceModel, error) {
	file := "voices/" + name + ".onnx"
	if err := s.check(file, file+".json"); err != nil {
		return voiceModel{}, err
	}
	b, err := os.ReadFile(s.path(file + ".json"))
	if err != nil {
		return voiceModel{}, err
	}
	var card struct {
		Audio struct {
			SampleRate int `json:"sample_rate"`
		}
		Espeak   struct{ Voice string }
		Language struct{ Family string }
		Speakers int              `json:"num_speakers"`
		Tokens   map[string][]int `json:"phoneme_id_map"`
	}
	if err := json.Unmarshal(b, &card); err != nil || card.Espeak.Voice == "" || card.Audio.SampleRate < Narrow || card.Audio.SampleRate > 48000 || len(card.Tokens) == 0 {
		return voiceModel{}, fmt.Errorf("%s is no description of a Piper voice: %s", s.path(file+".json"), fetch)
	}
	language, _, _ := strings.Cut(cmp.Or(card.Language.Family, card.Espeak.Voice), "-")
	return voiceModel{name, language, card.Espeak.Voice, card.Audio.SampleRate, max(1, card.Speakers), card.Tokens}, nil
}

// moonshineTokens writes the list of tokens that sherpa-onnx wants: base64, a space, the number. tokenizer.bin has them one after the other, each
// behind its length of one byte, or of two from 128 on.
func moonshineTokens(bin []byte) ([]byte, error) {
	var out []byte
	for n := 0; len(bin) > 0; n++ {
		length := int(bin[0])
		bin = bin[1:]
		if length >= 128 {
			if len(bin) == 0 {
				return nil, errors.New("the list of tokens is cut off")
			}
			length += int(bin[0])*128 - 128
			bin = bin[1:]
		}
		if length > len(bin) {
			return nil, errors.New("the list of tokens is cut off")
		}
		token := strings.ReplaceAll(string(bin[:length]), "▁", " ")
		out = fmt.Appendf(out, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(cmp.Or(token, " "))), n)
		bin = bin[length:]
	}
	return out, nil
}

// piperTokens is a voice's list of phonemes for sherpa-onnx.
func (v voiceModel) piperTokens() []byte {
	var out []byte
	for _, p := range slices.Sorted(maps.Keys(v.tokens)) {
		if ids := v.tokens[p]; len(ids) > 0 {
			out = fmt.Appendf(out, "%s %d\n", p, ids[0])
		}
	}
	return out
}

// metadata is what sherpa-onnx wants to read in a Piper voice and Piper does not write: entries of metadata_props (field 14 of ONNX's ModelProto; each has
// a key, field 1, and a value, field 2). Put behind the file's bytes they belong to the same message.
func (v voiceModel) metadata() []byte {
	var out []byte
	for _, e := range [][2]string{{"model_type", "vits"}, {"comment", "piper"}, {"language", v.language}, {"voice", v.espeak}, {"has_espeak", "1"},
		{"n_speakers", fmt.Sprint(v.speakers)}, {"sample_rate", fmt.Sprint(v.rate)}} {
		entry := protoString(protoString(nil, 1, e[0]), 2, e[1])
		out = protoString(out, 14, string(entry))
	}
	return out
}

// protoString appends a field of protobuf's wire format; s is shorter than 128 bytes.
func protoString(b []byte, field int, s string) []byte {
	return append(append(b, byte(field<<3|2), byte(len(s))), s...)
}

// derived is a file made of others, kept beside them because it may be as long as a model; one of another length is made again.
func (s shelf) derived(name string, size int64, make func(w io.Writer) error) (string, error) {
	path := s.path("derived/" + strings.ReplaceAll(name, "/", "_"))
	if info, err := os.Stat(path); err == nil && (info.Size() == size || size == anySize && info.Size() > 0) {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // unless it was renamed
	if err := errors.Join(make(f), f.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(f.Name(), path)
}

// anySize of a derived file: it is whole, for it was given its name when it was.
const anySize = -1

// tokens is a derived list of tokens.
func (s shelf) tokens(name string, list []byte) (string, error) {
	return s.derived(name+".tokens", int64(len(list)), func(w io.Writer) error {
		_, err := w.Write(list)
		return err
	})
}

// model is the derived file of a voice, its own and the metadata.
func (s shelf) model(v voiceModel) (string, error) {
	from, more := s.path("voices/"+v.name+".onnx"), v.metadata()
	info, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	return s.derived("voices/"+v.name+".onnx", info.Size()+int64(len(more)), func(w io.Writer) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, io.MultiReader(f, bytes.NewReader(more)))
		return err
	})
}
