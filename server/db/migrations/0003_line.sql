-- +goose Up

-- The waiting line: in which order, to whom, when, and what happens when it takes too long.
alter table queues
  add column strategy text not null default 'longest_idle' check (strategy in
    ('longest_idle', 'round_robin', 'fewest_calls', 'least_talk', 'ring_all', 'top_down', 'weighted_random')),
  add column sticky     boolean not null default false, -- the contact's last agent is asked before the others
  add column priority   int not null default 0 check (priority between 0 and 100), -- the higher is served first, over all queues
  add column age_bonus  int not null default 0 check (age_bonus between 0 and 100), -- points of priority for each minute waited
  add column weight     int not null default 1 check (weight between 1 and 100), -- of equal priority: a minute here counts so many times
  add column chat_load  int not null default 1 check (chat_load between 1 and 20), -- how much of an agent's capacity one takes
  add column email_load int not null default 1 check (email_load between 1 and 20),
  add column anybody_seconds int check (anybody_seconds between 1 and 86400), -- after this wait no skill is asked for; null: never
  add column hours        jsonb not null default '{}', -- agents.Hours; {}: always open
  add column closed_until timestamptz,             -- emergency close
  add column closed_words text not null default ''; -- what customers are told meanwhile; '': the house's words

create table skills (
  id   bigint generated always as identity primary key,
  name text not null unique
);
create table agent_skills (
  agent_id bigint not null references agents on delete cascade,
  skill_id bigint not null references skills on delete cascade,
  level    int not null check (level between 1 and 5),
  primary key (agent_id, skill_id)
);
-- What a queue asks of its agents: level from after_seconds of waiting on, until the next step; 0: no longer asked for.
create table queue_skills (
  queue_id      bigint not null references queues on delete cascade,
  skill_id      bigint not null references skills on delete cascade,
  after_seconds int not null default 0 check (after_seconds between 0 and 86400),
  level         int not null check (level between 0 and 5),
  primary key (queue_id, skill_id, after_seconds)
);
alter table agent_queues
  add column position   int not null default 1 check (position between 1 and 1000), -- top down: the lowest is asked first
  add column weight     int not null default 1 check (weight between 1 and 100),    -- weighted random: the share
  add column offered_at timestamptz;                                                -- round robin: asked last

-- What happens when a queue's line takes too long. Whatever it is, the conversation stays in a line, with its promise.
create table queue_overflows (
  id          bigint generated always as identity primary key,
  queue_id    bigint not null references queues on delete cascade,
  cause       text not null check (cause in ('wait', 'length', 'nobody')),
  threshold   int not null default 0 check (threshold >= 0), -- wait, nobody: seconds; length: conversations
  action      text not null check (action in ('queue', 'skills', 'message')),
  to_queue_id bigint references queues on delete cascade,
  words       text not null default '',
  check ((action = 'queue') = (to_queue_id is not null)),
  unique (queue_id, cause, threshold, action)
);
create table overflows_done (                      -- each rule acts once in one wait
  conversation_id bigint not null references conversations on delete cascade,
  overflow_id     bigint not null references queue_overflows on delete cascade,
  waiting_since   timestamptz not null,
  done_at         timestamptz not null default clock_timestamp(),
  primary key (conversation_id, overflow_id, waiting_since)
);

alter table agents
  add column next_presence text check (next_presence in ('available', 'away', 'offline')), -- when the work in hand is done
  add column next_reason   text not null default '';
create index agents_next on agents (id) where next_presence is not null;
create table break_reasons (
  name     text primary key,
  position int not null default 1
);
insert into break_reasons (name, position) values ('break', 1), ('lunch', 2), ('training', 3);

-- Ring all: several open offers of one conversation, all of them shared; the first accept wins and withdraws the others.
alter table offers
  add column shared boolean not null default false,
  add column waited text not null default '';      -- why it had to wait until this offer
drop index conversations_line;
create index conversations_line on conversations (queue_id, channel, front desc, return_call desc, waiting_since, id) where state = 'waiting';
drop index offers_one_per_conversation;
create unique index offers_one_per_conversation on offers (conversation_id) where outcome is null and not shared;
create index offers_open_of on offers (conversation_id) where outcome is null;
create index offers_taken on offers (agent_id, ended_at) where outcome = 'accepted';
create index calls_talk on calls (agent_id, ended_at) where bridged_at is not null;

-- Each wait: what was expected when it began, and what it became.
create table waits (
  conversation_id bigint not null references conversations on delete cascade,
  since        timestamptz not null,               -- the conversation's waiting_since
  queue_id     bigint not null references queues on delete cascade,
  channel      text not null,
  place        int,                                -- when it was first looked at,
  people       int,                                -- with so many of the queue's agents at the desk,
  low_seconds  int,                                -- and this was expected; null: nothing honest could be said
  high_seconds int,
  ended_at     timestamptz,
  outcome      text check (outcome in ('agent', 'contact')), -- a person took it; the customer left
  done_at      timestamptz,                        -- the person was done with it
  primary key (conversation_id, since)
);
create index waits_ended on waits (queue_id, ended_at desc) where outcome = 'agent';
create index waits_running on waits (conversation_id) where ended_at is null;
create index waits_undone on waits (conversation_id) where outcome = 'agent' and done_at is null;

-- Why a conversation still waited: a row when the reason changes.
create table wait_reasons (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversations on delete cascade,
  at              timestamptz not null default clock_timestamp(),
  code            text not null,
  why             text not null
);
create index on wait_reasons (conversation_id, id desc);

-- What is known of a queue's pace, fresh each second while somebody waits (agents/expect.go).
create table paces (
  queue_id bigint primary key references queues on delete cascade,
  at       timestamptz not null,
  pace     jsonb not null
);
