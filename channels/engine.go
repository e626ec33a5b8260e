package channels

// SpeechEngine is something that hears callers or speaks to them, as an administrator chooses it for a queue.
type SpeechEngine struct {
	Name     string   `json:"name"` // local: our own
	Hears    bool     `json:"hears"`
	Speaks   bool     `json:"speaks"`
	Voices   []string `json:"voices"`    // that are known
	AnyVoice bool     `json:"any_voice"` // it may know others
	Trouble  string   `json:"trouble"`   // why it does not work now; "": it does
}
