-- Two texts of a hold or a disqualification: `organizer_reason` is for the team, this one is for everybody who sees the board.
-- Null: the board says that it is held or disqualified, and no more.

alter table submission add column organizer_public_reason text
    check (char_length(organizer_public_reason) between 1 and 2000);
-- As the submission's column of this name.
alter table submission_marks add column organizer_public_reason text;

create or replace function marks_are_kept() returns trigger language plpgsql as $$
begin
    insert into submission_marks (submission_id, at, chosen, organizer_status, organizer_reason, verified, organizer_public_reason)
        values (new.id, now(), new.chosen, new.organizer_status, new.organizer_reason, new.verified_at is not null,
                new.organizer_public_reason)
    on conflict (submission_id, at) do update
        set (chosen, organizer_status, organizer_reason, verified, organizer_public_reason)
            = (excluded.chosen, excluded.organizer_status, excluded.organizer_reason, excluded.verified,
               excluded.organizer_public_reason);
    return null;
end $$;
drop trigger marks_are_kept on submission;
create trigger marks_are_kept after update on submission for each row
    when ((old.chosen, old.organizer_status, old.organizer_reason, old.verified_at is null, old.organizer_public_reason)
          is distinct from (new.chosen, new.organizer_status, new.organizer_reason, new.verified_at is null,
                            new.organizer_public_reason))
    execute function marks_are_kept();

-- What the server itself found was never meant for the team alone.
update submission set organizer_public_reason = organizer_reason
    where organizer_status = 'held' and not organizer_decided;
