-- What held when, so that a board can be shown as it stood at any date: the marks of entries, and the rules of phases. Scores,
-- withdrawals and decisions about re-runs have their times already.

-- The marks of an entry from a moment on. Before the first row it had none, as every entry comes in.
create table submission_marks (
    submission_id    uuid not null references submission on delete cascade,
    at               timestamptz not null,
    -- As the submission's columns of these names.
    chosen           boolean not null,
    organizer_status text not null,
    organizer_reason text,
    verified         boolean not null,
    primary key (submission_id, at)
);

-- Marks of before this table: those that the audit log tells of, …
insert into submission_marks
    select s.id, a.at, false, a.details -> 'status' ->> 1, a.details -> 'reason' ->> 1, (a.details -> 'verified' ->> 1)::boolean
    from audit a join submission s on s.id::text = a.object
    where a.action in ('submission.accept', 'submission.hold', 'submission.disqualify', 'submission.verify', 'submission.unverify')
      and a.details -> 'status' ->> 1 is not null and a.details -> 'verified' ->> 1 is not null
    on conflict do nothing;
-- … and the present ones, where these are others: from the first score on, or from when it came in.
insert into submission_marks
    select s.id, coalesce((select max(m.at) from submission_marks m where m.submission_id = s.id) + interval '1 microsecond',
                          (select min(e.finished_at) from evaluation e where e.submission_id = s.id and e.state = 'scored'),
                          s.created_at),
           s.chosen, s.organizer_status, s.organizer_reason, s.verified_at is not null
    from submission s
    left join lateral (select * from submission_marks m where m.submission_id = s.id order by at desc limit 1) m on true
    where (s.chosen, s.organizer_status, s.organizer_reason, s.verified_at is not null)
          is distinct from (coalesce(m.chosen, false), coalesce(m.organizer_status, 'none'), m.organizer_reason,
                            coalesce(m.verified, false));

create function marks_are_kept() returns trigger language plpgsql as $$
begin
    insert into submission_marks
        values (new.id, now(), new.chosen, new.organizer_status, new.organizer_reason, new.verified_at is not null)
    on conflict (submission_id, at) do update
        set (chosen, organizer_status, organizer_reason, verified)
            = (excluded.chosen, excluded.organizer_status, excluded.organizer_reason, excluded.verified);
    return null;
end $$;
create trigger marks_are_kept after update on submission for each row
    when ((old.chosen, old.organizer_status, old.organizer_reason, old.verified_at is null)
          is distinct from (new.chosen, new.organizer_status, new.organizer_reason, new.verified_at is null))
    execute function marks_are_kept();

-- What judged a phase from a moment on. The first row of a phase holds for all of before, too.
create table phase_rules (
    phase_id      uuid not null references phase on delete cascade,
    at            timestamptz not null,
    -- As the phase's columns of these names.
    dataset_id    uuid not null references dataset,
    protocol_id   uuid not null references protocol,
    gate_psnr     double precision,
    baseline_submission_id uuid references submission,
    baseline_name text not null,
    baseline_model_sha256 text,
    primary key (phase_id, at)
);
insert into phase_rules
    select id, now(), dataset_id, protocol_id, gate_psnr, baseline_submission_id, baseline_name, baseline_model_sha256
    from phase;

create function rules_are_kept() returns trigger language plpgsql as $$
begin
    insert into phase_rules
        values (new.id, now(), new.dataset_id, new.protocol_id, new.gate_psnr, new.baseline_submission_id, new.baseline_name,
                new.baseline_model_sha256)
    on conflict (phase_id, at) do update
        set (dataset_id, protocol_id, gate_psnr, baseline_submission_id, baseline_name, baseline_model_sha256)
            = (excluded.dataset_id, excluded.protocol_id, excluded.gate_psnr, excluded.baseline_submission_id,
               excluded.baseline_name, excluded.baseline_model_sha256);
    return null;
end $$;
create trigger rules_are_kept_first after insert on phase for each row execute function rules_are_kept();
create trigger rules_are_kept after update on phase for each row
    when ((old.dataset_id, old.protocol_id, old.gate_psnr, old.baseline_submission_id, old.baseline_name, old.baseline_model_sha256)
          is distinct from (new.dataset_id, new.protocol_id, new.gate_psnr, new.baseline_submission_id, new.baseline_name,
                            new.baseline_model_sha256))
    execute function rules_are_kept();
