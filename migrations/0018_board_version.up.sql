-- A number of each phase that moves whenever its board may have: a board that was ranked once is good until then.

create table board_version (
    phase_id uuid primary key references phase on delete cascade,
    version  bigint not null default 1
);
insert into board_version (phase_id) select id from phase;

create function board_of_new_phase() returns trigger language plpgsql as $$
begin
    insert into board_version (phase_id) values (new.id);
    return null;
end $$;
create trigger board_of_new_phase after insert on phase for each row execute function board_of_new_phase();

-- Deferred to the end of the transaction, so that no two wait for each other's rows.
create function board_moves() returns trigger language plpgsql as $$
begin
    case tg_table_name
        when 'phase' then update board_version set version = version + 1 where phase_id = new.id;
        when 'submission' then update board_version set version = version + 1 where phase_id = new.phase_id;
        when 'evaluation' then
            update board_version set version = version + 1
            where phase_id = (select phase_id from submission where id = new.submission_id);
        when 'team' then
            update board_version set version = version + 1
            where phase_id in (select id from phase where challenge_id = new.challenge_id);
        when 'challenge' then
            update board_version set version = version + 1
            where phase_id in (select id from phase where challenge_id = new.id);
    end case;
    return null;
end $$;
create constraint trigger board_moves after update on phase
    deferrable initially deferred for each row execute function board_moves();
create constraint trigger board_moves after update on submission
    deferrable initially deferred for each row execute function board_moves();
create constraint trigger board_moves after update on team
    deferrable initially deferred for each row execute function board_moves();
create constraint trigger board_moves after update on challenge
    deferrable initially deferred for each row execute function board_moves();
create constraint trigger board_moves after update on evaluation
    deferrable initially deferred for each row
    when (old.state is distinct from new.state or old.official is distinct from new.official)
    execute function board_moves();
