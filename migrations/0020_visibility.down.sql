drop index submission_carried_once;
alter table submission drop column carried_from;
drop function evaluation_counted_by(evaluation, timestamptz);
drop function phase_shows_all(phase);
-- What the older program does not know is hidden by it.
alter table phase drop constraint phase_after_end_has_an_end, drop constraint phase_frozen_before_it_closes,
    drop constraint phase_frozen_has_its_time, drop constraint phase_visibility_check, drop column frozen_at;
update phase set visibility = case visibility when 'frozen' then 'own' else 'hidden' end
    where visibility in ('frozen', 'after-end');
alter table phase add constraint phase_visibility_check check (visibility in ('live', 'own', 'hidden'));
