resource "aws_iam_role" "task" {
  name                 = "task"
  path                 = "/team/"
  description          = var.changed ? "Runs it, changed" : "Runs it"
  assume_role_policy   = data.aws_iam_policy_document.ecs.json
  permissions_boundary = aws_iam_policy.boundary[var.changed ? "wide" : "narrow"].arn
  tags                 = { Name = var.changed ? "task changed" : "task" }
}

# Bounded at one time, not at the other.
resource "aws_iam_role" "unbound" {
  name                 = "unbound"
  assume_role_policy   = data.aws_iam_policy_document.ecs.json
  permissions_boundary = var.changed ? null : aws_iam_policy.boundary["wide"].arn
}

resource "aws_iam_role_policy" "logs" {
  name   = "logs"
  role   = aws_iam_role.task.name
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.task.name
  policy_arn = aws_iam_policy.logs.arn
}

resource "aws_iam_instance_profile" "this" {
  name = "hosts"
  role = aws_iam_role.task.name
  tags = { Name = var.changed ? "hosts changed" : "hosts" }
}
