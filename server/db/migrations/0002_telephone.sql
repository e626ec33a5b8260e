-- +goose Up

-- A way to the telephone network: a carrier, or a PBX of the company. The addresses of the settings (sip.trunks) are one
-- more, built in, that only lets calls in.
create table trunks (
  id                bigint generated always as identity primary key,
  name              text not null unique,
  enabled           boolean not null default true,
  -- outward: tried in this order, the healthy ones first: host, host:port or [v6]:port
  servers           text[] not null default '{}',
  transport         text not null default 'udp' check (transport in ('udp', 'tcp', 'tls')),
  domain            text not null default '',      -- in From and To; '' = the first server's host
  priority          int not null default 10,       -- of several trunks the lowest is dialled first, the next on failure
  -- inward: IPs or networks that may send us anything at all
  sources           text[] not null default '{}',
  challenge         boolean not null default false, -- and must they know the password
  digest            text not null default 'md5' check (digest in ('md5', 'sha256')), -- what we challenge with: one only
  username          text not null default '',
  auth_username     text not null default '',      -- '' = username
  password          text not null default '',      -- the API takes it and never gives it
  register          boolean not null default false,
  register_seconds  int not null default 600 check (register_seconds between 60 and 86400),
  options_seconds   int not null default 60 check (options_seconds between 0 and 3600), -- health; 0 = not asked
  codecs            text[] not null default '{PCMU,PCMA}', -- in order: PCMU, PCMA, G722, opus
  srtp              text not null default 'off' check (srtp in ('off', 'optional', 'required')),
  srtp_keys         text not null default 'sdes' check (srtp_keys in ('sdes', 'dtls')),
  signal_ip         text not null default '',      -- announced to this trunk; '' = the settings' or the facing address
  media_ip          text not null default '',
  latch             text not null default 'auto' check (latch in ('auto', 'on', 'off')),
  force_rport       boolean not null default true, -- answer to the source whatever Via says
  -- numbers
  number_format     text not null default 'e164' check (number_format in ('e164', 'plain', 'national', 'asis')), -- outward; plain = E.164 without +
  country_code      text not null default '',      -- '49': how national numbers become E.164
  national_prefix   text not null default '0',
  caller_header     text not null default 'pai' check (caller_header in ('from', 'pai', 'ppi', 'rpid')),
  called_header     text not null default 'ruri' check (called_header in ('ruri', 'to', 'pcpid', 'diversion')),
  caller_number     text not null default '',      -- shown when an agent chooses none
  may_refer         boolean not null default false, -- REFER may be sent to it
  may_redirect      boolean not null default false, -- its 3xx is followed, under the dial policy
  -- dial policy: a stolen login must not run up a bill
  dial_out          boolean not null default false,
  allowed_prefixes  text[] not null default '{}',  -- E.164 prefixes; empty = the own country only
  blocked_prefixes  text[] not null default '{}',  -- go before allowed
  international     boolean not null default false, -- anything outside country_code
  max_calls         int not null default 30 check (max_calls >= 0),      -- at once, both directions
  max_calls_out     int not null default 10 check (max_calls_out >= 0),  -- at once, outward
  max_calls_hour    int not null default 100 check (max_calls_hour >= 0), -- outward, per agent
  max_calls_day     int not null default 500 check (max_calls_day >= 0), -- outward, in all
  max_money_day     numeric(12,4) not null default 20 check (max_money_day >= 0),
  money_per_minute  numeric(12,4) not null default 0.10 check (money_per_minute >= 0), -- where no rate says otherwise
  rates             jsonb not null default '[]',   -- [{"prefix":"+49","per_minute":0.01}], longest prefix wins
  created_at        timestamptz not null default now(),
  changed_at        timestamptz not null default now()
);

-- What each node knows of a trunk right now; a node's rows go with it.
create table trunk_states (
  trunk_id      bigint not null references trunks on delete cascade,
  node_id       text not null references nodes on delete cascade,
  registered    boolean not null default false,
  healthy       boolean not null default false,
  server        text not null default '',          -- in use
  error         text not null default '',
  answer_ms     int not null default 0,            -- how long the last OPTIONS took; 0 = not asked
  changed_at    timestamptz not null default now(), -- so it is since then
  seen_at       timestamptz not null default now(), -- last looked at
  primary key (trunk_id, node_id)
);

create table prompts (                             -- uploaded sound: music on hold, greetings, announcements
  id          bigint generated always as identity primary key,
  name        text not null unique,
  kind        text not null check (kind in ('music', 'greeting', 'announcement')),
  sound       bytea not null,                      -- 16 bit PCM, little endian, 8 kHz, mono
  seconds     numeric(8,2) not null,
  uploaded_by bigint references agents on delete set null,
  created_at  timestamptz not null default now()
);

alter table queues
  add column record          boolean not null default false,
  add column record_announce boolean not null default true, -- says so before the first person hears the caller
  add column music_id        bigint references prompts on delete set null,
  add column greeting_id     bigint references prompts on delete set null;

-- Numbers that are ours. That of the settings (sip.number) is one more, built in, on the first queue.
create table numbers (
  number     text primary key,                     -- E.164, or a short number as it is dialled
  label      text not null default '',
  kind       text not null default 'queue' check (kind in ('queue', 'echo')),
  queue_id   bigint references queues on delete set null, -- null: the first queue
  trunk_id   bigint references trunks on delete set null, -- null: by any trunk; else also the trunk that calls with it
  caller_id  boolean not null default true,        -- agents may show it when they call out
  created_at timestamptz not null default now()
);

-- A SIP telephone on an agent's table.
create table devices (
  id         bigint generated always as identity primary key,
  agent_id   bigint not null references agents on delete cascade,
  label      text not null default '',
  username   text not null unique,
  digest     text not null default 'md5' check (digest in ('md5', 'sha256')),
  ha1        text not null,                        -- hex of H(username:patchbay:password) in that algorithm
  enabled    boolean not null default true,
  created_at timestamptz not null default now()
);
create index on devices (agent_id);
create table registrations (
  device_id  bigint not null references devices on delete cascade,
  instance   text not null,                        -- +sip.instance, else the contact's address
  contact    text not null,                        -- URI
  source     text not null,                        -- where the packets come from: the way back through NAT
  transport  text not null,
  call_id    text not null,
  cseq       bigint not null,
  user_agent text not null default '',
  node_id    text not null references nodes on delete cascade, -- holds the connection
  expires_at timestamptz not null,
  primary key (device_id, instance)
);

alter table agents add column phone text not null default 'browser' check (phone in ('browser', 'device')); -- where calls ring

alter table conversations
  add column wanted_agent_id bigint references agents on delete set null, -- passed on to this person: offered there first
  add column passed_by_id    bigint references agents on delete set null; -- and back to this one when that fails
create index on conversations (wanted_agent_id) where state = 'waiting' and wanted_agent_id is not null;
create index on conversations (passed_by_id) where state = 'waiting' and passed_by_id is not null;

alter table calls
  add column trunk_id   bigint references trunks on delete set null,
  add column dialled_by bigint references agents on delete set null, -- outward: who called
  add column media      text not null default 'sip' check (media in ('sip', 'web')), -- the customer's side
  add column ringing_at timestamptz,
  add column answered_at timestamptz,
  add column money      numeric(12,4) not null default 0, -- outward: what it cost by the trunk's rates
  add column mos        numeric(3,2),              -- worst of the call's legs, from loss, jitter and delay
  add column lost_percent numeric(5,2),
  add column jitter_ms  int;
alter table calls drop constraint calls_state_check;
alter table calls add constraint calls_state_check check (state in ('dialling', 'ringing', 'answered', 'waiting', 'connecting', 'bridged', 'ended'));
create index calls_out on calls (trunk_id, started_at) where dialled_by is not null;
create index calls_by on calls (dialled_by, started_at) where dialled_by is not null;

-- Colleagues in a call beside the agent who has it. Who stands here is not free.
create table call_parties (
  call_id   bigint not null references calls on delete cascade,
  agent_id  bigint not null references agents on delete cascade,
  role      text not null check (role in ('consulted', 'supervisor')),
  since     timestamptz not null default clock_timestamp(),
  primary key (call_id, agent_id)
);
create index on call_parties (agent_id);

-- The call doctor's story of one call: every SIP message, address, latch and ICE decision, quality over time. Written
-- once, at the end; a running call is asked.
create table call_traces (
  call_id    bigint primary key references calls on delete cascade,
  trace      jsonb not null,
  stored_at  timestamptz not null default now()
);

create table recordings (
  id              bigint generated always as identity primary key,
  call_id         bigint not null references calls on delete cascade,
  conversation_id bigint not null references conversations on delete cascade,
  node_id         text references nodes on delete set null, -- whose disk has it; null: S3
  place           text not null,                   -- path below the recordings folder, or the S3 key
  state           text not null default 'recording' check (state in ('recording', 'done', 'recovered', 'failed', 'deleted')),
  started_at      timestamptz not null default now(),
  seconds         numeric(10,2) not null default 0,
  bytes           bigint not null default 0,
  sha256          bytea,
  marks           jsonb not null default '[]',     -- [{"at":12.5,"what":"paused"},...]: pauses, gaps
  peaks           bytea not null default '',       -- the waveform: pairs (left, right) of 0..255, 20 a second
  keep_until      timestamptz,                     -- null: until somebody deletes it
  error           text not null default ''
);
create index on recordings (call_id);
create index recordings_open on recordings (node_id) where state = 'recording';
create index recordings_old on recordings (keep_until) where state in ('done', 'recovered');
