-- +goose Up

-- A running server process. id is new at every start (name + random), name is stable: the process that holds a
-- name's listening port knows that every older id of that name is dead (server/switchboard/recover.go).
create table nodes (
  id         text primary key,
  name       text not null,
  started_at timestamptz not null default now(),
  seen_at    timestamptz not null default now(),   -- heartbeat; a node unseen for 10 s is dead
  stopped_at timestamptz
);

create table queues (
  id             bigint generated always as identity primary key,
  name           text not null unique,
  offer_seconds  int not null default 20 check (offer_seconds between 5 and 120),
  wrapup_seconds int not null default 60 check (wrapup_seconds between 0 and 3600),
  promise_seconds int not null default 180 check (promise_seconds > 0)  -- target: wish to first human word
);

create table agents (
  id              bigint generated always as identity primary key,
  login           text not null unique,
  name            text not null,
  password_hash   text not null default '',        -- argon2id; empty: sign-in by link only
  role            text not null default 'agent' check (role in ('agent', 'supervisor', 'admin')),
  presence        text not null default 'offline' check (presence in ('available', 'away', 'offline')),
  presence_reason text not null default '',        -- why away: a break's name, or 'missed'
  presence_at     timestamptz not null default now(),
  idle_since      timestamptz not null default now(), -- longest idle is offered first
  capacity        int not null default 3 check (capacity between 1 and 20), -- chats and mails at once; a call fills an agent
  created_at      timestamptz not null default now()
);
create table agent_queues (
  agent_id bigint not null references agents on delete cascade,
  queue_id bigint not null references queues on delete cascade,
  primary key (agent_id, queue_id)
);
-- An agent's open browser tabs. An agent counts as present only with a socket on a living node.
create table agent_sockets (
  id        text primary key,
  agent_id  bigint not null references agents on delete cascade,
  node_id   text not null references nodes on delete cascade,
  opened_at timestamptz not null default now()
);
create index on agent_sockets (agent_id);
create table sessions (
  token_hash bytea primary key,                    -- SHA-256 of the cookie's random token
  agent_id   bigint not null references agents on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index on sessions (agent_id);
create table sign_in_links (
  token_hash bytea primary key,
  agent_id   bigint not null references agents on delete cascade,
  expires_at timestamptz not null,
  used_at    timestamptz
);
create table sign_in_failures (                    -- shared by all nodes, so a limit cannot be walked around
  subject text not null,                           -- 'login:<login>' or 'ip:<address>'
  at      timestamptz not null default now()
);
create index on sign_in_failures (subject, at);

create table contacts (
  id         bigint generated always as identity primary key,
  name       text not null default '',
  created_at timestamptz not null default now()
);
create table addresses (
  id         bigint generated always as identity primary key,
  contact_id bigint not null references contacts on delete cascade,
  kind       text not null check (kind in ('phone', 'email', 'visitor')),
  value      text not null,                        -- phone: E.164 where it can be known; email: lower case; visitor: random id
  created_at timestamptz not null default now(),
  unique (kind, value)
);
create index on addresses (contact_id);

create table conversations (
  id             bigint generated always as identity primary key,
  contact_id     bigint not null references contacts on delete cascade,
  queue_id       bigint not null references queues,
  state          text not null default 'new'
                 check (state in ('new', 'bot', 'waiting', 'offered', 'agent', 'wrapup', 'closed')),
  channel        text not null check (channel in ('voice', 'chat', 'email')), -- where the contact was heard last
  agent_id       bigint references agents on delete set null,
  subject        text not null default '',
  summary        text not null default '',         -- the hand-over's short summary, made by code
  last_words     text not null default '',         -- what the list shows
  last_author    text not null default '',         -- whose words they are
  created_at     timestamptz not null default now(),
  state_at       timestamptz not null default now(),
  changed_at     timestamptz not null default now(),
  waiting_since  timestamptz,                      -- since the wish; a return to the line keeps it
  front          boolean not null default false,   -- missed, failed or lost: before all others
  return_call    boolean not null default false,   -- the caller was lost by us: a call to return
  wrapup_until   timestamptz,
  disposition    text not null default '',
  last_seq       bigint not null default 0,
  customer_seq   bigint not null default 0,        -- last message of the contact
  answered_seq   bigint not null default 0,        -- contact's messages up to here have their answer
  bot_turns      int not null default 0,           -- since the responder last began
  failed_turns   int not null default 0,           -- in a row
  owner_id       text references nodes on delete set null -- the node whose loop works on it; valid while that node lives
);
create index conversations_line on conversations (queue_id, front desc, waiting_since) where state = 'waiting';
create index conversations_open on conversations (state) where state <> 'closed';
create index on conversations (contact_id, id desc);
create index on conversations (agent_id) where agent_id is not null and state in ('offered', 'agent', 'wrapup');
create index on conversations (changed_at desc);
create index conversations_unanswered on conversations (id) where state in ('new', 'bot') and customer_seq > answered_seq;
create index on conversations (owner_id) where owner_id is not null;
create index on conversations (wrapup_until) where state = 'wrapup';

create table calls (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversations on delete cascade,
  direction       text not null check (direction in ('in', 'out')),
  from_address    text not null,
  to_address      text not null,
  sip_call_id     text not null default '',
  node_id         text references nodes on delete set null, -- the call lives and dies with this node
  agent_id        bigint references agents on delete set null,
  state           text not null default 'answered' check (state in ('answered', 'waiting', 'connecting', 'bridged', 'ended')),
  started_at      timestamptz not null default now(),
  bridged_at      timestamptz,
  ended_at        timestamptz,
  result          text not null default '' check (result in ('', 'completed', 'abandoned', 'lost', 'failed')),
  reason          text not null default '',
  stats           jsonb not null default '{}'
);
create index on calls (conversation_id);
create index calls_live on calls (node_id) where state <> 'ended';

create table messages (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversations on delete cascade,
  seq             bigint not null,                 -- 1, 2, 3 ... without a gap in each conversation
  author          text not null check (author in ('contact', 'ai', 'agent', 'system')),
  agent_id        bigint references agents on delete set null,
  channel         text not null check (channel in ('voice', 'chat', 'email')),
  kind            text not null check (kind in ('text', 'note', 'event')),
  body            text not null,
  private         boolean not null default false,  -- the contact never sees it (notes, the desk's own events)
  client_id       text,                            -- the sender's own id: writing twice is one message
  data            jsonb not null default '{}',     -- sources, cut, event's code, mail's subject ...
  at              timestamptz not null default clock_timestamp(),
  unique (conversation_id, seq),
  unique (conversation_id, client_id)
);

-- An offer is a lease: it has an end even if every server dies meanwhile.
create table offers (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversations on delete cascade,
  agent_id        bigint not null references agents on delete cascade,
  offered_at      timestamptz not null default clock_timestamp(),
  expires_at      timestamptz not null,
  why             text not null default '',        -- why this agent, why now
  outcome         text check (outcome in ('accepted', 'declined', 'missed', 'withdrawn')),
  ended_at        timestamptz
);
create unique index offers_one_per_conversation on offers (conversation_id) where outcome is null;
create unique index offers_one_per_agent on offers (agent_id) where outcome is null;
create index on offers (conversation_id, id desc);
create index offers_open on offers (expires_at) where outcome is null;

create table promises (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversations on delete cascade,
  source          text not null,                   -- words, button, key, mail, failure, turns, model, silence, lost ...
  opened_at       timestamptz not null default clock_timestamp(),
  due_at          timestamptz not null,
  closed_at       timestamptz,
  closed_by       text not null default '' check (closed_by in ('', 'agent', 'contact')),
  agent_id        bigint references agents on delete set null
);
create unique index promises_one_open on promises (conversation_id) where closed_at is null;

-- the website visitor's own key to its one conversation
create table visitors (
  token_hash      bytea primary key,
  contact_id      bigint not null references contacts on delete cascade,
  conversation_id bigint references conversations on delete set null,
  created_at      timestamptz not null default now(),
  seen_at         timestamptz not null default now()
);

-- every mail, byte for byte, before anything reads it
create table mails_in (
  id              bigint generated always as identity primary key,
  mailbox         text not null,
  uidvalidity     bigint not null,
  uid             bigint not null,
  digest          bytea not null,                  -- SHA-256 of raw: the same mail when UIDVALIDITY changed
  raw             bytea not null,
  stored_at       timestamptz not null default now(),
  handled_at      timestamptz,                     -- null: parse and receive it (again)
  verdict         text not null default '',        -- personal, automatic, bounce, own, broken, twin
  conversation_id bigint references conversations on delete set null,
  unique (mailbox, uidvalidity, uid)
);
create index on mails_in (digest);
create index mails_in_open on mails_in (id) where handled_at is null;
create table mails_out (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversations on delete cascade,
  message_id      bigint not null references messages on delete cascade,
  rfc_id          text not null unique,            -- Message-ID, made with the row and never changed
  recipient       text not null,
  subject         text not null,
  in_reply_to     text not null default '',
  refs            text not null default '',
  body            text not null,
  automatic       boolean not null,                -- by the responder or the server: Auto-Submitted: auto-replied
  state           text not null default 'queued' check (state in ('queued', 'sending', 'sent', 'unsure', 'failed')),
  attempts        int not null default 0,
  due_at          timestamptz not null default now(),
  owner_id        text references nodes on delete set null,
  error           text not null default '',
  sent_at         timestamptz,
  created_at      timestamptz not null default now()
);
create index mails_out_due on mails_out (due_at) where state in ('queued', 'sending', 'unsure');
create index on mails_out (recipient, created_at);   -- the loop stop counts by these two
create index on mails_out (conversation_id, id desc);
create table mail_ids (                            -- Message-IDs that belong to a conversation, in and out
  rfc_id          text not null,
  conversation_id bigint not null references conversations on delete cascade,
  primary key (rfc_id, conversation_id)
);

-- the knowledge base: an article's passages are what the responder may quote
create table articles (
  id         bigint generated always as identity primary key,
  slug       text not null unique,
  title      text not null,
  url        text not null default '',
  updated_at timestamptz not null default now()
);
create table passages (
  id         bigint generated always as identity primary key,
  article_id bigint not null references articles on delete cascade,
  position   int not null,
  heading    text not null default '',
  body       text not null,
  words      tsvector generated always as (
               setweight(to_tsvector('english', heading), 'A') || setweight(to_tsvector('english', body), 'B')) stored,
  unique (article_id, position)
);
create index on passages using gin (words);
