-- needs: page
-- args: session, after, limit
local s = session(args[1])
if not s then return refuse('session_not_found') end
return ok(page(s, args[2], args[3]))
