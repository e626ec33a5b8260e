-- +goose Up

-- This customer wants people only, on every channel: said once in clear words, or set by an agent. '' = no.
alter table contacts add column people_only text not null default '' check (people_only in ('', 'contact', 'agent'));
