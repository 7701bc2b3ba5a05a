-- Boards that stand still for a time, figures that everybody sees when a phase ends, and entries that are carried from one
-- phase to the next.

alter table phase drop constraint phase_visibility_check;
alter table phase
    -- live: everybody sees figures at once; own: a team sees only its own; frozen: as live until frozen_at, then the board
    -- stands still until the phase ends, and a team sees its own; after-end: organizers only until the phase ends;
    -- hidden: organizers only. Published, everybody sees all in each case.
    add constraint phase_visibility_check check (visibility in ('live', 'own', 'frozen', 'after-end', 'hidden')),
    -- From when on the board stands still.
    add column frozen_at timestamptz,
    add constraint phase_frozen_has_its_time check ((visibility = 'frozen') = (frozen_at is not null)),
    add constraint phase_frozen_before_it_closes check (frozen_at < closes_at),
    add constraint phase_after_end_has_an_end check (visibility <> 'after-end' or closes_at is not null);

-- Whether everybody sees every figure of a phase now.
create function phase_shows_all(p phase) returns boolean language sql stable as $$
    select p.published_at is not null or case p.visibility
        when 'live' then true
        when 'frozen' then now() < p.frozen_at or coalesce(now() >= p.closes_at, false)
        when 'after-end' then coalesce(now() >= p.closes_at, false)
        else false end
$$;

-- Whether an official evaluation counted at a time: it had ended by then and, where it is of a re-run, was official by then.
create function evaluation_counted_by(e evaluation, at timestamptz) returns boolean language sql stable as $$
    select e.finished_at <= at
       and (e.rerun_id is null or exists (select from rerun r where r.id = e.rerun_id and r.decided_at <= at))
$$;

-- The entry of an earlier phase that this one is, carried over by an organizer; null: a team sent it in. Each is carried into a
-- phase once.
alter table submission add column carried_from uuid references submission;
create unique index submission_carried_once on submission (phase_id, carried_from);
