alter table upload drop metadata;
