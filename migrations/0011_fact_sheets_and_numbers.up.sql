-- What a challenge asks its teams to say of their method, and numbers for clients that know rows by number only.

alter table challenge
    -- The fields of the fact sheet in their order: submission::fact_sheet::Field as JSON. The default is what the reports
    -- of the field's challenges ask for.
    add column fact_sheet jsonb not null default '[
        {"key": "method", "label": "Method", "type": "text", "help": "Name of the network"},
        {"key": "members", "label": "Members", "type": "text", "help": "Names and affiliations, as a report should print them"},
        {"key": "extra_data", "label": "Extra data", "type": "bool", "help": "Was it trained on images beyond the challenge''s own?"},
        {"key": "training_data", "label": "Training data", "type": "text", "help": "Which sets, as DIV2K and Flickr2K"},
        {"key": "training_code", "label": "Training code", "type": "text", "help": "Address of the code, where it is public"},
        {"key": "paper", "label": "Paper", "type": "text", "help": "Title, arXiv number or DOI"},
        {"key": "description", "label": "Description", "type": "text", "lines": 4, "help": "What is special about it"}
    ]' check (jsonb_typeof(fact_sheet) = 'array'),
    -- Codabench's id of it.
    add column number bigint generated always as identity unique;
-- Codabench's ids of these.
alter table phase add column number bigint generated always as identity unique;
alter table submission add column number bigint generated always as identity unique;
