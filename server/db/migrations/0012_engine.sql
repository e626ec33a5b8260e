-- +goose Up

-- Which speech engine hears a queue's callers and which speaks to them, by the names of the settings ('local' is our own).
-- '': the house's order. A name that is not there any more is passed over.
alter table queues
  add column hear_engine text not null default '',
  add column say_engine  text not null default '',
  add column say_voice   text not null default ''; -- of say_engine; '': its first of the language
