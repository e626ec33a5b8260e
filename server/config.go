package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"patchbay/channels/voice/speech"
)

// Config is every setting of the server. It is filled from, each going before the ones named earlier: the defaults
// below, a TOML file, the environment, flags. The tags are the whole reference: koanf names the setting in the file
// (http.listen), which gives its variable (PATCHBAY_HTTP_LISTEN) and its flag (--http.listen); env is a name that the
// setting has in other programs; rule is what it must be (settings.go); secret is never shown, and its variable may
// end in _FILE to name a file that holds it; help stands in the sample file and in --help.
type Config struct {
	DataDir string `koanf:"data_dir" help:"Where the house keeps its own database and files. Empty: /var/lib/patchbay for root, else ~/.local/share/patchbay."`
	Demo    bool   `koanf:"demo" help:"Load demonstration data at the start: a shop's queue, agents and knowledge base."`

	Node       NodeConfig       `koanf:"node" help:"This process among others on the same database and bus."`
	Company    CompanyConfig    `koanf:"company" help:"Who answers."`
	Desk       DeskConfig       `koanf:"desk" help:"Who answers customers."`
	HTTP       HTTPConfig       `koanf:"http" help:"The desk, the API and the customers' chat."`
	Chat       ChatConfig       `koanf:"chat" help:"How much one visitor, and one network address, may ask of the chat."`
	Database   DatabaseConfig   `koanf:"database" help:"PostgreSQL."`
	NATS       NATSConfig       `koanf:"nats" help:"The bus between nodes."`
	Ollama     OllamaConfig     `koanf:"ollama" help:"The model that answers first."`
	Knowledge  KnowledgeConfig  `koanf:"knowledge" help:"What the responder may say."`
	Speech     SpeechConfig     `koanf:"speech" help:"What hears callers and speaks to them."`
	SIP        SIPConfig        `koanf:"sip" help:"The telephone line."`
	Calls      CallsConfig      `koanf:"calls" help:"What is kept of telephone calls."`
	RTP        RTPConfig        `koanf:"rtp" help:"The sound of telephone calls; each call takes two ports."`
	WebRTC     WebRTCConfig     `koanf:"webrtc" help:"The sound of the agents' browsers."`
	TURN       TURNConfig       `koanf:"turn" help:"A relay for browsers whose network lets almost nothing through. It leads to our own calls and nowhere else."`
	Recordings RecordingsConfig `koanf:"recordings" help:"Recorded calls. Which queues record is set in the desk, under Telephone."`
	Mail       MailConfig       `koanf:"mail" help:"One mailbox. Without imap_host there is no e-mail."`
	Alarm      AlarmConfig      `koanf:"alarm" help:"Who is told of a broken promise, beside the supervisors' desks."`
	Synthetic  SyntheticConfig  `koanf:"synthetic" help:"Our own test customer: it asks for a person by chat, telephone and mail in turns, so that it is known before a customer finds out whether one comes."`
	Log        LogConfig        `koanf:"log" help:"What the server tells about itself."`
}

// AlarmConfig is a web hook.
type AlarmConfig struct {
	WebhookURL    string   `koanf:"webhook_url" rule:"weburl" help:"Gets a POST with JSON for every alarm, again until it answers 2xx. Empty: none."`
	WebhookSecret string   `koanf:"webhook_secret" secret:"all" help:"Signs it: the header Patchbay-Signature is t=TIME,v1=HEX, the HMAC-SHA256 of TIME, a full stop and the body."`
	WebhookAllow  []string `koanf:"webhook_allow" rule:"networks" help:"Addresses inside that it may lie at: IPs or networks. All others must be public."`
}

// SyntheticConfig is a test customer.
type SyntheticConfig struct {
	EveryMinutes int `koanf:"every_minutes" rule:"0..1440" help:"How often. Agents see by its name that it is a test; a word is enough, and it leaves. It calls from an address of 127.0.0.0/8 and writes from a +tag of mail.address. 0: never."`
}

// NodeConfig names this process.
type NodeConfig struct {
	DrainSeconds int `koanf:"drain_seconds" rule:"0..86400" help:"Asked to stop, the server takes no new calls and lets the running ones go on for so long. A second signal cuts them."`

	Name string `koanf:"name" rule:"word" help:"Its name, different for each node and the same after a restart. Empty: the machine's name."`
}

// CompanyConfig is what customers are told.
type CompanyConfig struct {
	Name string `koanf:"name" rule:"some" help:"The name that customers hear and read."`
}

// DeskConfig names the agents.
type DeskConfig struct {
	Agents []string `koanf:"agents" rule:"agents" help:"Login, name and role of each, like \"mira: Mira Solheim (supervisor)\"; the role agent may be left out. Who is new, or has no password yet, gets a one-time link that the start prints. Nobody is taken away here."`
}

// HTTPConfig is the web side.
type HTTPConfig struct {
	Listen         string   `koanf:"listen" rule:"listen" help:"Address and port."`
	PublicURL      string   `koanf:"public_url" rule:"weburl" help:"How browsers reach us, if not by the address above, for example https://help.example.com. Microphones need https, except on localhost."`
	TrustedProxies []string `koanf:"trusted_proxies" rule:"networks" help:"Proxies in front of us whose X-Forwarded-For is believed: IPs or networks."`
	AllowedOrigins []string `koanf:"allowed_origins" rule:"origins" help:"Web sites that may embed the chat, for example \"https://www.example.com\"."`
}

// ChatConfig are the chat's limits; a whole school may sit behind one address.
type ChatConfig struct {
	VisitorPerSecond int  `koanf:"visitor_per_second" rule:"1..1000" help:"Messages a second that one visitor may keep up; five times as many at once."`
	AddressPerSecond int  `koanf:"address_per_second" rule:"1..100000" help:"The same for all visitors of one IP address. Raise it behind a proxy that hides them."`
	AddressSockets   int  `koanf:"address_sockets" rule:"1..100000" help:"Open chats of one IP address."`
	Calls            bool `koanf:"calls" help:"The chat has a telephone button: visitors call from the web page, into the same conversation."`
	AddressCalls     int  `koanf:"address_calls_per_minute" rule:"1..10000" help:"Calls a minute of one IP address."`
}

// DatabaseConfig: "" is a PostgreSQL of our own.
type DatabaseConfig struct {
	URL string `koanf:"url" env:"DATABASE_URL" rule:"dburl" secret:"url" help:"Of an existing server, postgres://user:password@host/name. Empty: we run our own."`
}

// NATSConfig: "" is a server inside this process.
type NATSConfig struct {
	URL string `koanf:"url" env:"NATS_URL" rule:"natsurl" secret:"url" help:"Of a NATS server; needed only for several nodes. Empty: one inside this process."`
}

// OllamaConfig: Host is "" or a whole URL after loading.
type OllamaConfig struct {
	Host              string   `koanf:"host" env:"OLLAMA_HOST" rule:"ollama" help:"Address of a running Ollama. Empty: we run one of our own."`
	Hosts             []string `koanf:"hosts" rule:"models" help:"More Ollamas, each \"address\" or \"address model\". The least loaded one answers; one that is down is left out."`
	Binary            string   `koanf:"binary" help:"An ollama program that we run ourselves when host is empty; it may still be in the making."`
	Model             string   `koanf:"model" help:"The model's name. Empty: one that fits this machine."`
	ModelFile         string   `koanf:"model_file" help:"A GGUF file to import when no model is there and none can be pulled."`
	FirstTokenSeconds int      `koanf:"first_token_seconds" rule:"1..60" help:"No word of an answer after this: the customer is told and gets a person."`
	TotalSeconds      int      `koanf:"total_seconds" rule:"1..600" help:"The whole answer may take this."`
	NumThread         int      `koanf:"num_thread" rule:"0..1024" help:"CPU threads for the model. 0: one less than this machine has; for an Ollama elsewhere its own choice."`
	Places            int      `koanf:"places" rule:"0..64" help:"Answers at once, for each Ollama. 0: as many as it gives in time, measured at the start and adjusted while running. Who would wait too long gets a person at once."`
}

// KnowledgeConfig is a folder of articles, loaded at each start.
type KnowledgeConfig struct {
	Dir string `koanf:"dir" help:"A folder of Markdown files, each an article that begins with \"# title\". Loaded at each start; files that are gone stay known. Empty: none."`
	URL string `koanf:"url" rule:"weburl" help:"Where customers can read them: an article's address is this, a slash, and its file's name without .md. Empty: /help on this server."`
}

// SpeechConfig is the engines: our own are off while Models is "", the first remote one while RemoteURL is (speech.go).
type SpeechConfig struct {
	Language        string   `koanf:"language" rule:"word" help:"What callers are spoken to in, and expected to speak: en, de ..."`
	Models          string   `koanf:"models" help:"The folder that \"bash deploy/models.sh speech\" has filled and printed. Empty: no engines of our own."`
	Threads         int      `koanf:"threads" rule:"0..1024" help:"CPU threads for hearing, and as many for speaking. 0: one less than the machine has."`
	Prefer          string   `koanf:"prefer" rule:"some" help:"Which is tried first, where a queue does not name one: local (our own), remote (the next settings), or a name of remotes. One that is down is passed over."`
	RemoteURL       string   `koanf:"remote_url" rule:"weburl" help:"A server that speaks OpenAI's audio API, for example http://127.0.0.1:8000/v1. Empty: none."`
	RemoteKey       string   `koanf:"remote_key" secret:"all" help:"Its bearer token, if it wants one."`
	RemoteHearModel string   `koanf:"remote_hear_model" help:"Its model for /audio/transcriptions. Empty: it does not hear."`
	RemoteSayModel  string   `koanf:"remote_say_model" help:"Its model for /audio/speech. Empty: it does not speak."`
	RemoteVoice     string   `koanf:"remote_voice" help:"Its voice."`
	RemoteRate      int      `koanf:"remote_rate" rule:"8000..48000" help:"Samples a second of the PCM that it sends."`
	RemoteLanguages []string `koanf:"remote_languages" rule:"languages" help:"What it hears and speaks, for example [\"en\", \"de\"]. Empty: anything."`
	Remotes         []string `koanf:"remotes" rule:"remotes" help:"More such servers, by a name that a queue chooses them by (in the desk, under Waiting line): \"hall http://192.0.2.9:8000/v1 hear=MODEL say=MODEL voice=NAME rate=24000 languages=en+de\". Of hear and say one is needed, the rest may be left out."`
	RemoteKeys      []string `koanf:"remote_keys" rule:"remotekeys" secret:"all" help:"Their bearer tokens, each \"hall TOKEN\"."`
}

// SIPConfig is the telephone line; Listen is "" when it is switched off.
type SIPConfig struct {
	Listen     string   `koanf:"listen" rule:"listen-or-off" help:"UDP address and port, or off."`
	ListenAlso []string `koanf:"listen_also" rule:"sockets" help:"More SIP sockets, for example \"tcp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\", \"udp:[::]:5060\"."`
	TLSCert    string   `koanf:"tls_cert" help:"PEM file of the certificate for sockets by TLS. Read again when it has been renewed."`
	TLSKey     string   `koanf:"tls_key" help:"PEM file of its key."`
	TLSRoots   string   `koanf:"tls_roots" help:"PEM file of authorities that sign trunks' certificates, beside the system's."`
	ExternalIP string   `koanf:"external_ip" rule:"ip" help:"Our address as the trunk sees it, behind NAT. Empty: the one we listen on."`
	Number     string   `koanf:"number" rule:"number" help:"The number that is answered."`
	Trunks     []string `koanf:"trunks" rule:"networks" help:"Addresses that may call: IPs or networks. All others are refused."`
	Phones     []string `koanf:"phones" rule:"networks" help:"From where the agents' SIP telephones may sign in: IPs or networks, such as \"192.168.0.0/16\". They show their password; all other addresses get no answer. Empty: no telephones but the browsers; with demo the ones on this machine."`
}

// CallsConfig is what is kept of calls.
type CallsConfig struct {
	ShowListening           bool `koanf:"show_listening" help:"An agent sees it when a supervisor listens to a call. Laws differ: in many countries they must. Who whispers or is in the call is always shown."`
	VoicemailSeconds        int  `koanf:"voicemail_seconds" rule:"10..1800" help:"The longest message that a caller in line can leave, by key 3."`
	VoicemailSilenceSeconds int  `koanf:"voicemail_silence_seconds" rule:"2..60" help:"So much silence ends it."`
	TraceDays               int  `koanf:"trace_days" rule:"1..3650" help:"Days that the call doctor keeps a call's signalling and quality, for finding out what was wrong with it."`
}

// RTPConfig is a range of UDP ports.
type RTPConfig struct {
	PortMin int `koanf:"port_min" rule:"1024..65534" help:"First port."`
	PortMax int `koanf:"port_max" rule:"1025..65535" help:"Last port."`
}

// WebRTCConfig is one port for all browsers.
type WebRTCConfig struct {
	UDPPort    int    `koanf:"udp_port" rule:"0..65535" help:"One UDP port for all browsers, and TCP on the same number for those whose network lets no UDP through. 0: any."`
	ExternalIP string `koanf:"external_ip" rule:"ip" help:"Our address as the browsers see it, behind NAT. Empty: this machine's own."`
}

// TURNConfig is the relay; it is off while both listen addresses are "".
type TURNConfig struct {
	Listen    string   `koanf:"listen" rule:"listen-or-off" help:"Address and port, UDP and TCP, for example 0.0.0.0:3478, or off."`
	TLSListen string   `koanf:"tls_listen" rule:"listen-or-off" help:"The same with TLS, for example 0.0.0.0:5349, or off. Port 443 passes the strictest networks."`
	Cert      string   `koanf:"cert" help:"For tls_listen: a PEM file with the certificate and those above it. A renewed one is read by itself."`
	Key       string   `koanf:"key" help:"The PEM file with its key."`
	Host      string   `koanf:"host" rule:"host" help:"How browsers reach it; with TLS the name in the certificate. Empty: webrtc.external_ip, else the address it listens on."`
	Secret    string   `koanf:"secret" secret:"all" help:"What its ten-minute passwords are made of; the same on all nodes. Empty: made at each start."`
	Media     []string `koanf:"media" rule:"endpoints" help:"Several nodes: where the others announce their browsers' sound, like \"192.0.2.7:8189\"."`
}

// RecordingsConfig is where recordings go; S3 is off while S3Endpoint is "".
type RecordingsConfig struct {
	Dir        string `koanf:"dir" help:"Where calls are recorded, and stay when there is no S3. Empty: recordings in data_dir."`
	KeepDays   int    `koanf:"keep_days" rule:"0..36500" help:"A recording is deleted after so many days; what is recorded already keeps its day. 0: when somebody deletes it."`
	S3Endpoint string `koanf:"s3_endpoint" rule:"weburl" help:"An object store that takes finished recordings, for example https://s3.eu-central-1.amazonaws.com. Empty: they stay on this node's disk."`
	S3Bucket   string `koanf:"s3_bucket" rule:"bucket" help:"The bucket; it must exist."`
	S3Region   string `koanf:"s3_region" rule:"word" help:"The store's region. Empty: it is asked."`
	S3Key      string `koanf:"s3_key" help:"Access key, allowed to put, get and delete in the bucket."`
	S3Secret   string `koanf:"s3_secret" secret:"all" help:"Better in PATCHBAY_RECORDINGS_S3_SECRET, or in a file named by PATCHBAY_RECORDINGS_S3_SECRET_FILE."`
}

// MailConfig is one mailbox; it is off while IMAPHost is "".
type MailConfig struct {
	IMAPHost string `koanf:"imap_host" rule:"host" help:"Incoming mail."`
	IMAPPort int    `koanf:"imap_port" rule:"1..65535"`
	IMAPTLS  string `koanf:"imap_tls" rule:"none|starttls|tls" help:"none, starttls or tls."`
	SMTPHost string `koanf:"smtp_host" rule:"host" help:"Outgoing mail."`
	SMTPPort int    `koanf:"smtp_port" rule:"1..65535"`
	SMTPTLS  string `koanf:"smtp_tls" rule:"none|starttls|tls" help:"none, starttls or tls."`
	User     string `koanf:"user" help:"Sign-in for both."`
	Password string `koanf:"password" secret:"all" help:"Better in PATCHBAY_MAIL_PASSWORD, or in a file named by PATCHBAY_MAIL_PASSWORD_FILE."`
	Address  string `koanf:"address" rule:"mail" help:"The address that customers write to."`
	Name     string `koanf:"name" help:"The name beside it. Empty: the company's."`
	Mailbox  string `koanf:"mailbox" rule:"some" help:"The folder that is read."`
}

// LogConfig is the program's own log, on standard error.
type LogConfig struct {
	Level  string `koanf:"level" rule:"debug|info|warn|error" help:"debug, info, warn or error."`
	Format string `koanf:"format" rule:"text|json" help:"text or json."`
}

func defaultConfig() Config {
	return Config{
		Node:       NodeConfig{DrainSeconds: 60},
		Company:    CompanyConfig{Name: "our company"},
		Desk:       DeskConfig{Agents: []string{}},
		HTTP:       HTTPConfig{Listen: "127.0.0.1:8080", TrustedProxies: []string{}, AllowedOrigins: []string{}},
		Chat:       ChatConfig{VisitorPerSecond: 2, AddressPerSecond: 20, AddressSockets: 200, Calls: true, AddressCalls: 20},
		Ollama:     OllamaConfig{Hosts: []string{}, FirstTokenSeconds: 8, TotalSeconds: 30},
		Speech:     SpeechConfig{Language: "en", Prefer: speech.Local, RemoteRate: 24000, RemoteLanguages: []string{}, Remotes: []string{}, RemoteKeys: []string{}},
		SIP:        SIPConfig{Listen: "127.0.0.1:5060", ListenAlso: []string{}, Number: "100", Trunks: []string{"127.0.0.1/32"}, Phones: []string{}},
		Calls:      CallsConfig{ShowListening: true, TraceDays: 30, VoicemailSeconds: 180, VoicemailSilenceSeconds: 5},
		RTP:        RTPConfig{PortMin: 16384, PortMax: 16883},
		WebRTC:     WebRTCConfig{UDPPort: 8189},
		TURN:       TURNConfig{Listen: "off", TLSListen: "off", Media: []string{}},
		Recordings: RecordingsConfig{KeepDays: 90},
		Mail:       MailConfig{IMAPPort: 993, IMAPTLS: "tls", SMTPPort: 587, SMTPTLS: "starttls", Mailbox: "INBOX"},
		Alarm:      AlarmConfig{WebhookAllow: []string{}},
		Log:        LogConfig{Level: "info", Format: "text"},
	}
}

// configPlaces are looked at when no file is named.
var configPlaces = []string{"patchbay.toml", "/etc/patchbay/patchbay.toml"}

// commandLine is what kong reads beside the settings' own flags.
type commandLine struct {
	Config string `help:"Settings file. Default: patchbay.toml here, or /etc/patchbay/patchbay.toml." placeholder:"FILE"`

	Serve   struct{} `cmd:"" default:"withargs" help:"Run the server (the default)."`
	Version struct{} `cmd:"" help:"Print the version."`
	Show    struct{} `cmd:"" name:"config" help:"Print the settings in force, without secrets."`
	Sample  struct{} `cmd:"" help:"Print a settings file with all defaults."`
	Explain struct {
		Human struct {
			File string `arg:"" optional:"" help:"The lines; without it, or with -, standard input."`
		} `cmd:"" help:"Say for each line whether it asks for a person. A line is language<TAB>channel<TAB>text, or JSON {lang,channel,dialog:[{author,text}],text}; the answer 1 or 0<TAB>rule<TAB>why."`
	} `cmd:"" help:"Say why the server would decide so."`
	Verify struct {
		File string `arg:"" help:"A month's signed report. - is standard input."`
		Key  string `help:"The public key that it must be signed with, as the desk shows it. Empty: the one that it names." placeholder:"BASE64"`
	} `cmd:"" help:"Check a signed report: that nothing in it was changed, and by which key it was signed."`
	kong.Plugins // one flag for each setting
}

// order is what the command line asks for: serve, version, config, sample, "explain human", or help when the help was
// printed.
type order struct {
	name string
	file string // explain human, verify: what to read; "" or -: standard input
	key  string // verify: what it must be signed with; "": what it names
}

// loadConfig reads flags, environment and file. The error is a *configError that lists every mistake, or kong's about
// the command line.
func loadConfig(args, environ []string) (o order, cfg Config, err error) {
	cfg = defaultConfig()
	all := settingsOf(&cfg)
	flags := newFlags(all)
	cli := commandLine{Plugins: kong.Plugins{flags.target()}}
	helped := false
	parser, err := kong.New(&cli, kong.Name("patchbay"), kong.Exit(func(int) { helped = true }),
		kong.Description("Phone, chat and e-mail, answered first by a language model, taken over by people."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		return o, cfg, fmt.Errorf("command line: %w", err)
	}
	line, err := parser.Parse(args)
	switch {
	case helped:
		return order{name: "help"}, cfg, nil
	case err != nil:
		return o, cfg, err
	}
	o = order{name: strings.TrimSuffix(line.Command(), " <file>"), file: cli.Explain.Human.File}
	if o.name == "verify" {
		o.file, o.key = cli.Verify.File, cli.Verify.Key
		return o, cfg, nil
	}
	if o.name == "version" || o.name == "sample" || o.name == "explain human" {
		return o, cfg, nil
	}

	l := loader{all: all, given: map[string]given{}, env: envMap(environ)}
	l.loadFile(cli.Config)
	l.loadEnv()
	for name, value := range flags.given() {
		l.given[name] = given{value, "--" + flagName(name), true}
	}
	l.fill()
	if len(l.mistakes) == 0 {
		l.together(&cfg)
	}
	if len(l.mistakes) > 0 {
		return o, cfg, &configError{l.mistakes}
	}
	return o, cfg, cfg.complete(l.env)
}

// complete fills what depends on the machine.
func (c *Config) complete(env map[string]string) error {
	if c.Node.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node.name is empty and the machine has no name: %w", err)
		}
		c.Node.Name = name
	}
	if c.DataDir == "" {
		switch {
		case os.Geteuid() == 0:
			c.DataDir = "/var/lib/patchbay"
		case env["XDG_DATA_HOME"] != "":
			c.DataDir = filepath.Join(env["XDG_DATA_HOME"], "patchbay")
		case env["HOME"] != "":
			c.DataDir = filepath.Join(env["HOME"], ".local", "share", "patchbay")
		default:
			return errors.New("data_dir is empty and there is no HOME to put it below")
		}
	}
	if c.Recordings.Dir == "" {
		c.Recordings.Dir = filepath.Join(c.DataDir, "recordings")
	}
	for _, listen := range []*string{&c.SIP.Listen, &c.TURN.Listen, &c.TURN.TLSListen} {
		if *listen == "off" {
			*listen = ""
		}
	}
	if c.Ollama.Host != "" {
		c.Ollama.Host = ollamaURL(c.Ollama.Host).String()
	}
	for i, h := range c.Ollama.Hosts {
		address, model, _ := strings.Cut(h, " ")
		c.Ollama.Hosts[i] = strings.TrimSpace(ollamaURL(address).String() + " " + strings.TrimSpace(model))
	}
	if c.Mail.Name == "" {
		c.Mail.Name = c.Company.Name
	}
	c.HTTP.PublicURL = strings.TrimRight(c.HTTP.PublicURL, "/")
	return nil
}

// ollamaURL reads what OLLAMA_HOST may be: a URL, a host, a port, or both. An address to listen on (0.0.0.0) is one to
// call on this machine. nil when it is nothing of that.
func ollamaURL(s string) *url.URL {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil
	}
	host, port := u.Hostname(), u.Port()
	switch host {
	case "", "0.0.0.0", "::":
		host = "127.0.0.1"
	}
	if port == "" {
		port = "11434"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	if !validHost(host) || !validPort(port) {
		return nil
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u.Host = host + ":" + port
	u.Path = strings.TrimRight(u.Path, "/")
	return u
}

// environment variables with our prefix that are no settings.
var otherVariables = []string{"PATCHBAY_CONFIG", "PATCHBAY_CI", "PATCHBAY_CACHE", "PATCHBAY_BUILD_OLLAMA"}

const testVariables = "PATCHBAY_TEST_"
