package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"patchbay/channels"
	"patchbay/channels/email"
	"patchbay/llm/human"
)

// maxLine bounds one line of explain human, in bytes.
const maxLine = 4 << 20

// utterance is one line of explain human. Lang is for the reader: the recogniser does not need it.
type utterance struct {
	Lang    string       `json:"lang"`
	Channel string       `json:"channel"`
	Dialog  []human.Said `json:"dialog"`
	Text    string       `json:"text"`
}

// explainHuman answers each line with 1 or 0, TAB, the rule, TAB, why. It streams: an answer depends on its line alone.
// What is wrong with a bad line goes to stderr with the line's number; the others are answered all the same. Empty
// lines are passed over.
func explainHuman(ctx context.Context, file string, stdin io.Reader, stdout, stderr io.Writer) error {
	in := stdin
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	lines, out := bufio.NewReaderSize(in, 1<<16), bufio.NewWriter(stdout)
	bad := 0
	for number := 1; ctx.Err() == nil; number++ {
		line, readErr := readLine(lines)
		if readErr != nil && !errors.Is(readErr, errLongLine) && !errors.Is(readErr, io.EOF) {
			return errors.Join(fmt.Errorf("line %d: %w", number, readErr), out.Flush())
		}
		if u, err := parseUtterance(line); errors.Is(readErr, errLongLine) || err != nil {
			if errors.Is(readErr, errLongLine) {
				err = readErr
			}
			bad++
			fmt.Fprintf(stderr, "line %d: %v\n", number, err)
		} else if u != nil {
			w := explain(*u)
			fmt.Fprintf(out, "%d\t%s\t%s\n", map[bool]int{true: 1}[w.Yes], w.Rule, w.Why)
		}
		if lines.Buffered() == 0 || errors.Is(readErr, io.EOF) { // somebody may be typing
			if err := out.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d bad lines", bad)
	}
	return ctx.Err()
}

var errLongLine = fmt.Errorf("longer than %d MB", maxLine>>20)

// readLine reads one line without its end. A line that is too long is passed over to its end, in bounded memory.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			line = append(line, part...)
		}
		if len(line) > maxLine {
			line, long = nil, true
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long && (err == nil || errors.Is(err, io.EOF)) {
			return nil, errLongLine
		}
		return bytes.TrimRight(line, "\r\n"), err
	}
}

// parseUtterance reads one line; nil without an error is an empty one.
func parseUtterance(line []byte) (*utterance, error) {
	line = bytes.TrimPrefix(line, []byte("\ufeff"))
	if len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	var u utterance
	if bytes.HasPrefix(line, []byte("{")) {
		if err := json.Unmarshal(line, &u); err != nil {
			return nil, fmt.Errorf("not JSON of the form {lang, channel, dialog: [{author, text}], text}: %w", err)
		}
	} else {
		fields := strings.SplitN(string(line), "\t", 3)
		if len(fields) < 3 {
			return nil, fmt.Errorf("want language<TAB>channel<TAB>text, found %d of 3 fields", len(fields))
		}
		u = utterance{Lang: fields[0], Channel: fields[1], Text: fields[2]}
	}
	kind, ok := channelNames[strings.ToLower(strings.TrimSpace(u.Channel))]
	if !ok {
		return nil, fmt.Errorf("channel: want voice, chat or email, found %.40q", u.Channel)
	}
	u.Channel = string(kind)
	return &u, nil
}

var channelNames = map[string]channels.Kind{
	"": channels.Chat, "chat": channels.Chat, "web": channels.Chat, "widget": channels.Chat, "api": channels.Chat, "sms": channels.Chat,
	"voice": channels.Voice, "phone": channels.Voice, "call": channels.Voice,
	"email": channels.Email, "e-mail": channels.Email, "mail": channels.Email,
}

// explain reads as the switchboard does: of a mail only what the customer wrote now.
func explain(u utterance) human.Wish {
	kind := channels.Kind(u.Channel)
	if kind == channels.Email {
		u.Text = email.Visible(u.Text)
	}
	w := human.Read(u.Text, human.Heard(u.Dialog, kind))
	switch {
	case w.Yes:
	case w.Unsure:
		w.Why = "not sure, code asks once: " + w.Why
	default:
		w.Rule, w.Why = "none", "no wish for a person"
	}
	w.Why = strings.Join(strings.Fields(w.Why), " ")
	return w
}
