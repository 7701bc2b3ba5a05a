-- Where the gate comes from is said, so that no phase is without one by oversight.

alter table phase
    -- Where no figure is stated: none: every entry is ranked, an organizer said so; baseline: the gate is the baseline's measured
    -- PSNR, and nobody is ranked before there is one; null: the same where the phase has a baseline's model or entry, else as none.
    add column gate_rule text check (gate_rule in ('none', 'baseline')),
    add constraint phase_one_gate check (gate_psnr is null or gate_rule is null);
-- As the phase's column.
alter table phase_rules add column gate_rule text;

-- Phases of before ranked everybody while they had a baseline's model and no entry of it: they go on as they were.
update phase_rules set gate_rule = 'none'
    where gate_psnr is null and baseline_submission_id is null and baseline_model_sha256 is not null;
update phase set gate_rule = 'none'
    where gate_psnr is null and baseline_submission_id is null and baseline_model_sha256 is not null;
-- No table is altered while its deferred triggers wait.
set constraints all immediate;

drop trigger rules_are_kept_first on phase;
drop trigger rules_are_kept on phase;
create or replace function rules_are_kept() returns trigger language plpgsql as $$
begin
    insert into phase_rules
        (phase_id, at, dataset_id, protocol_id, gate_psnr, gate_rule, baseline_submission_id, baseline_name, baseline_model_sha256)
        values (new.id, now(), new.dataset_id, new.protocol_id, new.gate_psnr, new.gate_rule, new.baseline_submission_id,
                new.baseline_name, new.baseline_model_sha256)
    on conflict (phase_id, at) do update
        set (dataset_id, protocol_id, gate_psnr, gate_rule, baseline_submission_id, baseline_name, baseline_model_sha256)
            = (excluded.dataset_id, excluded.protocol_id, excluded.gate_psnr, excluded.gate_rule,
               excluded.baseline_submission_id, excluded.baseline_name, excluded.baseline_model_sha256);
    return null;
end $$;
create trigger rules_are_kept_first after insert on phase for each row execute function rules_are_kept();
create trigger rules_are_kept after update on phase for each row
    when ((old.dataset_id, old.protocol_id, old.gate_psnr, old.gate_rule, old.baseline_submission_id, old.baseline_name,
           old.baseline_model_sha256)
          is distinct from (new.dataset_id, new.protocol_id, new.gate_psnr, new.gate_rule, new.baseline_submission_id,
                            new.baseline_name, new.baseline_model_sha256))
    execute function rules_are_kept();
