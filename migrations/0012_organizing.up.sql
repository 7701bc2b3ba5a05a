-- Who runs a challenge, and what was done by whom.

-- Organizers of one challenge; an account with is_organizer runs them all and makes new ones.
create table challenge_organizer (
    challenge_id uuid not null references challenge on delete cascade,
    account_id   uuid not null references account on delete cascade,
    added_by     uuid references account on delete set null,
    added_at     timestamptz not null default now(),
    primary key (challenge_id, account_id)
);
create index challenge_organizer_account on challenge_organizer (account_id);

-- Every act of an organizer, in the transaction of the act itself. Append-only, and without references: it outlives what
-- it is about.
create table audit (
    -- UUIDv7: sorts by time.
    id           uuid primary key,
    at           timestamptz not null default now(),
    -- Null: of the whole server.
    challenge_id uuid,
    -- Null: from the shell.
    account_id   uuid,
    -- The account's name at the time, or `shell`.
    actor        text not null,
    -- What was done, as `phase.publish`.
    action       text not null check (action ~ '^[a-z_]+\.[a-z_]+$'),
    -- What it was done to, in words that a reader of the log finds again: a slug, a team's name, an id.
    object       text not null,
    -- Why, in the organizer's words; empty where none were asked for.
    reason       text not null default '',
    -- What changed, as {"field": [before, after]}, or what else belongs to the act.
    details      jsonb not null default '{}'
);
create index audit_challenge on audit (challenge_id, id desc);
create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append-only' using errcode = 'restrict_violation';
end $$;
create trigger audit_is_append_only before update or delete on audit
    for each row execute function audit_is_append_only();
create trigger audit_is_not_emptied before truncate on audit execute function audit_is_append_only();
