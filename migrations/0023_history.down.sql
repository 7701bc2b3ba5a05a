drop trigger rules_are_kept on phase;
drop trigger rules_are_kept_first on phase;
drop function rules_are_kept;
drop table phase_rules;
drop trigger marks_are_kept on submission;
drop function marks_are_kept;
drop table submission_marks;
