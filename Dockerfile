# The command and the plugin, without the tests. Build a site from its folder:
#   docker build -t mkdocs-dsocr .
#   docker run --rm -v "$PWD:/docs" mkdocs-dsocr mkdocs build --strict
FROM python:3.12-slim
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt . && rm -rf /src/*
RUN useradd --create-home --uid 1000 dsocr
USER 1000
WORKDIR /docs
CMD ["dsocr", "env"]
