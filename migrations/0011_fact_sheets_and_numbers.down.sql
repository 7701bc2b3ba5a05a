alter table submission drop column number;
alter table phase drop column number;
alter table challenge drop column number, drop column fact_sheet;
