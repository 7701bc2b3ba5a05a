-- What decides how an entry is measured, apart from how it is judged: a score outlives a change of the gate, the order or the
-- sub-tracks. And the organizers' word that an entry is what its team says.

-- The part of a rule set by which an entry is measured, in one form whichever version of ours wrote the rules. Immutable: it
-- depends on nothing but its argument; jsonb's text form has one order of keys.
create function protocol_measuring_sha256(rules jsonb) returns text
    language sql immutable strict parallel safe as $$
    select encode(sha256(convert_to(jsonb_build_object(
        'fidelity', rules -> 'fidelity',
        'operators', rules -> 'operators',
        'timing', rules -> 'timing',
        'limits', rules -> 'limits',
        'device', rules -> 'device',
        'ranked_images', coalesce(rules -> 'ranked_images', '"uploaded"'))::text, 'UTF8')), 'hex')
$$;

alter table protocol
    -- Equal: an entry measured by the one counts under the other. (Written by the rewrite of the table, which fires no
    -- trigger: the rows are immutable still.)
    add column measuring_sha256 text not null generated always as (protocol_measuring_sha256(rules)) stored;
create index protocol_measuring on protocol (measuring_sha256);

alter table submission
    -- When an organizer found that the entry is what its team says; null: not, or not yet. Asked for only where the rules say so.
    add column verified_at timestamptz,
    -- Who; null with a time: from the shell.
    add column verified_by uuid references account on delete set null,
    add constraint submission_verified_by_whom check (verified_by is null or verified_at is not null);
