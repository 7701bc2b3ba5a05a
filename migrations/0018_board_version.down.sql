drop trigger board_moves on evaluation;
drop trigger board_moves on challenge;
drop trigger board_moves on team;
drop trigger board_moves on submission;
drop trigger board_moves on phase;
drop function board_moves;
drop trigger board_of_new_phase on phase;
drop function board_of_new_phase;
drop table board_version;
