package channels

// ICEServer is a STUN or TURN server for a browser (RTCIceServer of WebRTC).
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}
