alter table phase drop constraint phase_baseline_submission;
drop table submission;
