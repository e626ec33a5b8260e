package channels

// ModelState is what the responder's hosts do now, for metrics, health and the desk.
type ModelState struct {
	Hosts      []ModelHost `json:"hosts"`       // none: passages are quoted
	Waiting    int         `json:"waiting"`     // turns in the line for a place
	Calls      int         `json:"calls"`       // calls that talk with the responder
	CallPlaces int         `json:"call_places"` // ... that may at once
	Refused    int64       `json:"refused"`     // turns and calls for which there was no place, since the start
}

// ModelHost is one of them. Places are turns at once that it serves in time, for callers and for writers.
type ModelHost struct {
	URL         string `json:"url"`
	Model       string `json:"model"`
	Down        string `json:"down"` // why it is left alone; "": it is not
	Running     int    `json:"running"`
	VoicePlaces int    `json:"voice_places"`
	TextPlaces  int    `json:"text_places"`
	FirstMS     int64  `json:"first_ms"` // how long its first sentence takes (mean); 0: not known yet
}
