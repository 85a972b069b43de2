module llm-chat/load

go 1.19
