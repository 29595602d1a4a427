-- The ledger. Ids of inboxes and recordings are any bytes, so they are bytea, and sort by
-- their bytes. JSON is json and not jsonb: jsonb refuses the character NUL in a text.

-- +goose Up
create table ledger (
  one     boolean primary key default true check (one), -- the table has one row at most
  id      text not null,
  created timestamptz not null default now(),
  binding json not null,
  seal    bytea, -- codec.Sealer.Mark; null: tokens are kept in the clear
  filling text   -- what makes the ledger at present; null: the ledger is whole
);

create table inboxes (
  inbox         bigint generated always as identity primary key,
  org           text collate "C" not null,
  id            bytea not null,
  info          json not null,             -- state.Inbox without Org and ID
  event         bigint not null default 0, -- number of the last event
  change        bigint not null default 0, -- random number of the last transaction that changed the inbox
  claim         bigint not null default 0, -- number of the last claim
  holder        text not null default '',  -- who made that claim
  claimed_until timestamptz not null default '-infinity',
  unique (org, id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- The processes that make runs together. A worker that holds no inbox lives, too.
create table workers (
  holder  text primary key, -- as in inboxes
  started timestamptz not null default now(),
  seen    timestamptz not null default now() -- its last sign of life
);

create table tokens (
  inbox bigint primary key,
  token bytea not null -- codec.Sealer.EncodeToken
);

-- stage: 0 waits to be archived, 1 is archived and its original is in the inbox, 2 is past:
-- passes ignore it. A change within a stage touches no index.
create table entries (
  inbox     bigint not null,
  recording bytea not null,
  stage     smallint not null,
  entry     bytea not null, -- codec.Entries
  raw       bytea,          -- Raw; null once archived
  primary key (inbox, recording)
) partition by hash (inbox);

alter table entries alter column entry set storage external; -- it is compressed already

create index entries_waiting on entries (inbox, recording) where stage = 0;
create index entries_live on entries (inbox, recording) where stage < 2;

-- What Ledger.Search looks for, of each entry. A row is written only if it changes.
-- participants and cases are lists: each element stands between bytes of value 0.
create table search (
  inbox        bigint not null,
  recording    bytea not null,
  created      bigint not null, -- Entry.Created in milliseconds since 1970
  duration     bigint not null, -- in milliseconds; 0: not known
  size         bigint,          -- Entry.Size
  state        text collate "C" not null,
  conversation bytea not null,
  name         bytea not null,  -- state.Fold
  participants bytea not null,  -- state.Fold
  cases        bytea not null,
  primary key (recording, inbox)
) partition by hash (inbox);

create index search_created on search (inbox, created, recording);
create index search_conversation on search (conversation) where conversation <> '';
create index search_held on search (inbox) where cases <> '';

-- +goose StatementBegin
do $$
begin
  for i in 0..15 loop
    execute format('create table entries_%s partition of entries for values with (modulus 16, remainder %s)
      with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)', i, i);
    execute format('create table search_%s partition of search for values with (modulus 16, remainder %s)
      with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)', i, i);
  end loop;
end $$;
-- +goose StatementEnd

create table events (
  inbox     bigint not null,
  number    bigint not null,
  recording bytea not null,
  event     json not null,
  primary key (inbox, number)
) with (autovacuum_vacuum_scale_factor = 0.02);

create table passes (
  inbox bigint not null,
  start text collate "C" not null, -- RFC 3339 in UTC with nine digits, so that it sorts
  pass  json not null,
  primary key (inbox, start)
);

create table runs (
  start text collate "C" not null,
  id    text collate "C" not null,
  run   json not null,
  primary key (start, id)
);

create table uploads (
  key    bytea not null,
  id     bytea not null,
  org    text collate "C" not null,
  inbox  bytea not null,
  upload json not null,
  primary key (key, id)
);
create index uploads_inbox on uploads (org, inbox);
