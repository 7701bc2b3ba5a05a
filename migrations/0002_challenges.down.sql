drop table membership;
drop table team;
drop table phase;
drop table challenge;
drop table dataset_image;
drop table dataset;
drop table protocol;
drop function protocol_is_immutable;
