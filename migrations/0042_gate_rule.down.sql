drop trigger rules_are_kept_first on phase;
drop trigger rules_are_kept on phase;
create or replace function rules_are_kept() returns trigger language plpgsql as $$
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
alter table phase_rules drop column gate_rule;
alter table phase drop constraint phase_one_gate, drop column gate_rule;
