resource "aws_ecs_cluster" "this" {
  name = "variants"
  tags = { Name = var.changed ? "after" : "before" }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_ecs_task_definition" "this" {
  family                   = "variants"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "512"
  memory                   = "1024"
  execution_role_arn       = aws_iam_role.this.arn
  tags                     = { Name = "variants" }

  container_definitions = jsonencode([
    {
      name             = "main"
      image            = "public.example.com/main:1"
      cpu              = 256
      memory           = 512
      portMappings     = [{ name = "http", containerPort = 80, hostPort = 80, protocol = "tcp", appProtocol = "http" }]
      environment      = [{ name = "Z", value = var.changed ? "after" : "before" }, { name = "A", value = "1" }]
      command          = ["serve"]
      entryPoint       = ["sh", "-c"]
      workingDirectory = "/"
      user             = "1000"
      stopTimeout      = 30
      ulimits          = [{ name = "nofile", softLimit = 1024, hardLimit = 2048 }]
      dockerLabels     = { team = "shop" }
      linuxParameters  = { initProcessEnabled = true }
      secrets          = []
      mountPoints      = []
      volumesFrom      = []
    },
    { name = "side", image = "public.example.com/side:1", essential = false, memoryReservation = 128, readonlyRootFilesystem = true },
  ])
}

resource "aws_ecs_service" "this" {
  name                   = "variants"
  cluster                = aws_ecs_cluster.this.name
  task_definition        = "${aws_ecs_task_definition.this.family}:${aws_ecs_task_definition.this.revision}"
  desired_count          = 0
  enable_execute_command = false
  propagate_tags         = "SERVICE"
  tags                   = { Name = "variants" }

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
    base              = 1
  }

  network_configuration {
    subnets         = [for s in aws_subnet.this : s.id]
    security_groups = var.changed ? [aws_security_group.other.id] : [aws_security_group.self.id]
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

resource "aws_ecr_repository" "this" {
  name                 = "team/variants"
  image_tag_mutability = var.changed ? "MUTABLE" : "IMMUTABLE"
  tags                 = { Name = "variants" }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_repository_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "pull"
      Effect    = "Allow"
      Principal = "*"
      Action    = var.changed ? ["ecr:BatchGetImage"] : ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    }]
  })
}

resource "aws_iam_role" "this" {
  name_prefix          = "variants-"
  path                 = "/team/"
  assume_role_policy   = local.assume
  max_session_duration = var.changed ? 7200 : 3600
  description          = var.changed ? "after" : "before"
  tags                 = { Name = "variants" }
}

resource "aws_iam_policy" "this" {
  name = "variants"
  path = "/team/"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = var.changed ? ["s3:*"] : ["s3:Get*"], Resource = "*" }]
  })
  tags = { Name = "variants" }
}

resource "aws_iam_role_policy_attachment" "this" {
  role       = aws_iam_role.this.name
  policy_arn = aws_iam_policy.this.arn
}

resource "aws_iam_instance_profile" "this" {
  name = "variants"
  role = aws_iam_role.this.name
}

resource "aws_iam_service_linked_role" "this" {
  aws_service_name = "ecs.amazonaws.com"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/variants"
  retention_in_days = var.changed ? 30 : 0
  tags              = { Name = "variants" }
}

resource "aws_cloudwatch_log_stream" "this" {
  name           = "stream"
  log_group_name = aws_cloudwatch_log_group.this.name
}

data "aws_ecs_cluster" "this" {
  cluster_name = aws_ecs_cluster.this.name
}

data "aws_ecs_service" "this" {
  service_name = aws_ecs_service.this.name
  cluster_arn  = aws_ecs_cluster.this.arn
}

data "aws_ecs_task_definition" "this" {
  task_definition = aws_ecs_task_definition.this.family
}

data "aws_ecr_repository" "this" {
  name = aws_ecr_repository.this.name
}

data "aws_ecr_authorization_token" "this" {}

data "aws_iam_role" "this" {
  name = aws_iam_role.this.name
}

data "aws_iam_policy" "managed" {
  arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_cloudwatch_log_group" "this" {
  name = aws_cloudwatch_log_group.this.name
}
