-- needs: gateway
-- args: gateway
leave_gateway(args[1])
return ok(pack(nil))
