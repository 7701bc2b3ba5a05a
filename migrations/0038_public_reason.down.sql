create or replace function marks_are_kept() returns trigger language plpgsql as $$
begin
    insert into submission_marks
        values (new.id, now(), new.chosen, new.organizer_status, new.organizer_reason, new.verified_at is not null)
    on conflict (submission_id, at) do update
        set (chosen, organizer_status, organizer_reason, verified)
            = (excluded.chosen, excluded.organizer_status, excluded.organizer_reason, excluded.verified);
    return null;
end $$;
drop trigger marks_are_kept on submission;
create trigger marks_are_kept after update on submission for each row
    when ((old.chosen, old.organizer_status, old.organizer_reason, old.verified_at is null)
          is distinct from (new.chosen, new.organizer_status, new.organizer_reason, new.verified_at is null))
    execute function marks_are_kept();
alter table submission_marks drop column organizer_public_reason;
alter table submission drop column organizer_public_reason;
