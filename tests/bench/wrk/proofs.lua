-- The same form body with another DPoP proof in each request: none counts twice.
--   wrk … -s proofs.lua URL -- PROOFS_FILE BODY
function init(args)
  messages, next_message = {}, 0
  for line in io.lines(args[1]) do
    local headers = { ["Content-Type"] = "application/x-www-form-urlencoded", ["DPoP"] = line }
    messages[#messages + 1] = wrk.format("POST", nil, headers, args[2])
  end
end

function request()
  next_message = next_message % #messages + 1
  return messages[next_message]
end
