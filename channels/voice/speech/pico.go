package speech

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// pico is SVOX Pico, the small voices that Android had: German, Spanish, French, Italian, English, one megabyte each. They sound like a
// machine, but are understood on a telephone line, and cost next to nothing.
type pico struct {
	initialize, load, nameOf, define, add, newEngine, put, data, reset uintptr
}

const (
	picoMemory = 2500000 // for one voice
	picoName   = 32      // the longest name of a resource
	picoRate   = 16000
	picoBusy   = 201 // more sound comes
	picoIdle   = 200
)

// openPico opens the library, which is the inside of a Python package: what it wants of Python is not there, and nothing that we call
// asks for it.
func openPico(path string) (*pico, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	p := &pico{}
	for name, f := range map[string]*uintptr{"initialize": &p.initialize, "loadResource": &p.load, "getResourceName": &p.nameOf, "createVoiceDefinition": &p.define,
		"addResourceToVoiceDefinition": &p.add, "newEngine": &p.newEngine, "putTextUtf8": &p.put, "getData": &p.data, "resetEngine": &p.reset} {
		if *f, err = purego.Dlsym(lib, "pico_"+name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// picoVoice is one voice, which says one text after the other.
type picoVoice struct {
	lib    *pico
	memory []byte // all that it has, lent for good: kept here, and the heap does not move
	mu     sync.Mutex
	engine uintptr
}

// voice loads a voice of two files: how texts are read, and how they sound.
func (p *pico) voice(files ...string) (*picoVoice, error) {
	v := &picoVoice{lib: p, memory: make([]byte, picoMemory)}
	var system uintptr
	name := cstring("voice")
	status := func(what string, f uintptr, args ...uintptr) error {
		if s, _, _ := purego.SyscallN(f, args...); int32(s) != 0 {
			return fmt.Errorf("pico: %s: error %d: %s", what, int32(s), fetchTongues)
		}
		return nil
	}
	if err := status("begin", p.initialize, address(v.memory), picoMemory, uintptr(unsafe.Pointer(&system))); err != nil {
		return nil, err
	}
	if err := status("define", p.define, system, address(name)); err != nil {
		return nil, err
	}
	for _, file := range files {
		var resource uintptr
		path, resourceName := cstring(file), make([]byte, picoName)
		if err := status(file, p.load, system, address(path), uintptr(unsafe.Pointer(&resource))); err != nil {
			return nil, err
		}
		if err := status(file, p.nameOf, system, resource, address(resourceName)); err != nil {
			return nil, err
		}
		if err := status(file, p.add, system, address(name), address(resourceName)); err != nil {
			return nil, err
		}
		runtime.KeepAlive(path)
	}
	return v, status("engine", p.newEngine, system, address(name), uintptr(unsafe.Pointer(&v.engine)))
}

// speak makes the sound of a text, with its rate; nil when the engine does not take it.
func (v *picoVoice) speak(text string) ([]int16, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	in := cstring(text) // the zero ends it
	var pcm []int16
	var chunk [256]byte
	for len(in) > 0 {
		var took int16
		if s, _, _ := purego.SyscallN(v.lib.put, v.engine, address(in), uintptr(min(len(in), 1<<14)), uintptr(unsafe.Pointer(&took))); int32(s) != 0 || took <= 0 {
			purego.SyscallN(v.lib.reset, v.engine, 0)
			return nil, 0
		}
		in = in[took:]
		for status := int32(picoBusy); status == picoBusy; {
			var got, kind int16
			s, _, _ := purego.SyscallN(v.lib.data, v.engine, address(chunk[:]), uintptr(len(chunk)), uintptr(unsafe.Pointer(&got)), uintptr(unsafe.Pointer(&kind)))
			if status = int32(s); status != picoBusy && status != picoIdle {
				purego.SyscallN(v.lib.reset, v.engine, 0)
				return nil, 0
			}
			pcm = append(pcm, samplesOf(chunk[:max(0, got)])...)
		}
	}
	return pcm, picoRate
}

// picoModel is a voice's two files.
type picoModel struct{ name, language, reading, sound string }

// picos lists Pico's voices.
func (s shelf) picos() []picoModel {
	var all []picoModel
	readings, _ := filepath.Glob(s.path("pico/lang/*_ta.bin"))
	for _, r := range readings {
		place := strings.TrimSuffix(filepath.Base(r), "_ta.bin")
		language, _, _ := strings.Cut(place, "-")
		if sounds, _ := filepath.Glob(s.path("pico/lang/" + place + "_*_sg.bin")); len(sounds) == 1 {
			all = append(all, picoModel{"pico-" + place, language, r, sounds[0]})
		}
	}
	return all
}

// picoLibrary is the derived file of Pico's library: the same with all that it wants of Python marked as dispensable, which lets the
// loader take it where no Python is.
func (s shelf) picoLibrary() (string, error) {
	b, err := os.ReadFile(s.path(filePico))
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, fetchTongues)
	}
	if err := dispensable(b, "Py", "_Py"); err != nil {
		return "", fmt.Errorf("%s: %w: %s", s.path(filePico), err, fetchTongues)
	}
	return s.derived(filePico, int64(len(b)), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// dispensable makes the missing symbols of a library whose names begin so weak ones.
func dispensable(library []byte, prefixes ...string) error {
	f, err := elf.NewFile(bytes.NewReader(library))
	if err != nil {
		return err
	}
	table := f.SectionByType(elf.SHT_DYNSYM)
	symbols, err := f.DynamicSymbols()
	if err != nil || table == nil || f.Class != elf.ELFCLASS64 || table.Offset+table.Size > uint64(len(library)) || table.Size < uint64(len(symbols)+1)*elf.Sym64Size {
		return fmt.Errorf("no library as it was expected: %v", err)
	}
	for i, symbol := range symbols {
		for _, prefix := range prefixes {
			if symbol.Section == elf.SHN_UNDEF && strings.HasPrefix(symbol.Name, prefix) {
				at := table.Offset + uint64(i+1)*elf.Sym64Size + 4 // the first entry of all is empty; the name has four bytes
				library[at] = elf.ST_INFO(elf.STB_WEAK, elf.ST_TYPE(symbol.Info))
			}
		}
	}
	return nil
}
