-- +goose Up

-- The media that recordings were served in the run under way, so that its workers notice if
-- two recordings of an organization were served the same. A crash of the server or a failover
-- empties it, which costs no more than that.
create unlogged table served (
  org       text collate "C" not null,
  sha256    bytea not null,
  inbox     bytea not null, -- of the first recording that was served them
  recording bytea not null,
  primary key (org, sha256)
);

-- How long a worker's claims live: after that without a sign of life, it counts as dead. A row
-- from before is of a worker that has to be started anew, and is given the default.
alter table workers add column claim interval not null default '60 seconds';
alter table workers alter column claim drop default;
