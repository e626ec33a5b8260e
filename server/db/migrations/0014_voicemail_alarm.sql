-- +goose Up

-- A disk that refuses what a caller wanted to leave is an alarm: who runs the house must make room.
alter table alarms drop constraint alarms_kind_check;
alter table alarms add constraint alarms_kind_check check (kind in
  ('promise_broken', 'people_first', 'people_first_over', 'call_back_due', 'call_back_failed', 'voicemail_failed'));
